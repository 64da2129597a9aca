# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Media types of static files and uploads: one list for every web server, so that a file has the same type behind all of them.

A file name whose extension is not listed gets L(UNKNOWN), which browsers download.
"""

from __future__ import annotations

UNKNOWN = "application/octet-stream"

#: Media type → extensions, in lower case. Web servers ignore the case of an extension.
TYPES: dict[str, str] = {
    # Pages, scripts, styles, and what belongs to them.
    "text/html": "html htm shtml",
    "application/xhtml+xml": "xhtml xht",
    "text/css": "css",
    "text/javascript": "js mjs cjs",
    "application/json": "json map json5",
    "application/ld+json": "jsonld",
    "application/x-ndjson": "ndjson jsonl",
    "application/geo+json": "geojson",
    "application/manifest+json": "webmanifest",
    "application/wasm": "wasm",
    "text/xml": "xml xsd dtd",
    "application/xslt+xml": "xsl xslt",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "application/opensearchdescription+xml": "osdx",
    # Fonts.
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "font/collection": "ttc",
    "application/vnd.ms-fontobject": "eot",
    # Pictures.
    "image/avif": "avif avifs",
    "image/apng": "apng",
    "image/bmp": "bmp dib",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif hif",
    "image/jp2": "jp2 jpg2",
    "image/jpeg": "jpg jpeg jpe jfif",
    "image/jxl": "jxl",
    "image/ktx": "ktx",
    "image/ktx2": "ktx2",
    "image/png": "png",
    "image/svg+xml": "svg svgz",
    "image/tiff": "tif tiff",
    "image/vnd.adobe.photoshop": "psd",
    "image/webp": "webp",
    "image/x-icon": "ico cur",
    # Sound.
    "audio/aac": "aac",
    "audio/basic": "au snd",
    "audio/flac": "flac",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a m4b",
    "audio/mpeg": "mp3 mp2 mpga",
    "audio/ogg": "oga ogg spx",
    "audio/opus": "opus",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "audio/x-aiff": "aif aiff aifc",
    # Films, their subtitles and playlists.
    "video/3gpp": "3gp 3gpp",
    "video/3gpp2": "3g2",
    "video/mp2t": "ts m2ts mts",
    "video/mp4": "mp4 m4v mp4v m4s",
    "video/mpeg": "mpeg mpg mpe",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv",
    "video/x-ms-wmv": "wmv",
    "video/x-msvideo": "avi",
    "application/vnd.apple.mpegurl": "m3u8",
    "audio/mpegurl": "m3u",
    "application/dash+xml": "mpd",
    "application/ogg": "ogx",
    "text/vtt": "vtt",
    "application/x-subrip": "srt",
    "application/ttml+xml": "ttml dfxp",
    # Models, maps and measurements.
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "model/obj": "obj",
    "model/mtl": "mtl",
    "model/stl": "stl",
    "model/3mf": "3mf",
    "model/step": "step stp",
    "model/vnd.usdz+zip": "usdz",
    "application/gpx+xml": "gpx",
    "application/gml+xml": "gml",
    "application/vnd.google-earth.kml+xml": "kml",
    "application/vnd.google-earth.kmz": "kmz",
    "application/vnd.mapbox-vector-tile": "mvt pbf",
    "application/geopackage+sqlite3": "gpkg",
    "application/topo+json": "topojson",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.sqlite3": "sqlite sqlite3 db",
    # Texts.
    "text/plain": "txt text log conf ini cfg diff patch",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/markdown": "md markdown",
    "text/x-rst": "rst",
    "text/calendar": "ics ifb",
    "text/vcard": "vcf vcard",
    "text/x-python": "py",
    "text/x-sh": "sh",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "application/sql": "sql",
    "application/x-tex": "tex",
    "application/rtf": "rtf",
    "message/rfc822": "eml mht mhtml",
    # Documents.
    "application/pdf": "pdf",
    "application/postscript": "ps ai eps",
    "application/epub+zip": "epub",
    "application/x-mobipocket-ebook": "mobi",
    "application/vnd.amazon.ebook": "azw",
    "application/msword": "doc dot",
    "application/vnd.ms-excel": "xls xlt",
    "application/vnd.ms-powerpoint": "ppt pps pot",
    "application/vnd.ms-outlook": "msg",
    "application/vnd.visio": "vsd vsdx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template": "dotx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.template": "xltx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow": "ppsx",
    "application/vnd.openxmlformats-officedocument.presentationml.template": "potx",
    "application/vnd.ms-word.document.macroenabled.12": "docm",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsm",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": "pptm",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.graphics": "odg",
    "application/vnd.oasis.opendocument.formula": "odf",
    "image/vnd.djvu": "djvu djv",
    "image/vnd.dxf": "dxf",
    "image/vnd.dwg": "dwg",
    # Archives and programs.
    "application/zip": "zip",
    "application/gzip": "gz tgz",
    "application/x-bzip2": "bz2 tbz2",
    "application/x-xz": "xz txz",
    "application/x-brotli": "br",
    "application/zstd": "zst",
    "application/x-tar": "tar",
    "application/x-7z-compressed": "7z",
    "application/vnd.rar": "rar",
    "application/java-archive": "jar war ear",
    "application/vnd.android.package-archive": "apk",
    "application/vnd.debian.binary-package": "deb",
    "application/x-rpm": "rpm",
    "application/x-iso9660-image": "iso",
    "application/x-apple-diskimage": "dmg",
    "application/x-msi": "msi",
    "application/vnd.microsoft.portable-executable": "exe dll",
    "application/x-shockwave-flash": "swf",
    "application/x-xpinstall": "xpi",
    "application/x-bittorrent": "torrent",
    "application/x-apple-aspen-config": "mobileconfig",
    "application/vnd.apple.pkpass": "pkpass",
    "application/x-x509-ca-cert": "crt cer der pem",
    "application/pkcs7-signature": "p7s",
    "application/pgp-signature": "sig",
    "application/pgp-keys": "asc",
}

#: Types that declare their encoding themselves, by C(@charset) or in their first line: a header would override that.
DECLARED = ("text/css", "text/xml")

#: Types that are worth compressing. Most images, videos, archives and WOFF fonts are compressed already.
COMPRESSED = (
    "text/html",
    "text/plain",
    "text/css",
    "text/csv",
    "text/javascript",
    "text/markdown",
    "text/vtt",
    "text/xml",
    "application/atom+xml",
    "application/geo+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/rss+xml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/xhtml+xml",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/x-icon",
    "model/gltf+json",
)


def with_charset() -> list[str]:
    """Return the types that are sent as UTF-8: texts that do not declare their encoding themselves."""
    return [name for name in TYPES if name.startswith("text/") and name not in DECLARED]


def by_extension() -> dict[str, str]:
    """Return extension → the value of C(Content-Type), in the order of the list."""
    texts = with_charset()
    return {
        extension: f"{name}; charset=utf-8" if name in texts else name
        for name, extensions in TYPES.items()
        for extension in extensions.split()
    }
