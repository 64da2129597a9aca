-- Installed by the role media of ntier.django. lighttpd runs it for a static file, before it sends the file.
local request = lighty.r
local path = request.req_attr["physical.path"]
local found = lighty.c.stat(path)
-- Folders are not listed. Errors are not cached: the next release may bring the file.
if not found or not found.is_file then
    return 404
end

-- A file whose name bears a hash of its content never changes: browsers may keep it for ever.
local hash = "%." .. string.rep("[0-9a-f]", 12) .. "%.[^/]+$"
if path:find(hash) then
    request.resp_header["Cache-Control"] = "public, max-age=31536000, immutable"
else
    request.resp_header["Cache-Control"] = "public, max-age=300"
end

-- The compressed file beside this one, for those who take it.
local compressed = lighty.c.stat(path .. ".gz")
if compressed and compressed.is_file then
    request.resp_header["Vary"] = "Accept-Encoding"
    local accepted = request.req_header["Accept-Encoding"] or ""
    if accepted:lower():find("gzip", 1, true) then
        request.resp_header["Content-Type"] = found["content-type"]
        request.resp_header["Content-Encoding"] = "gzip"
        request.req_attr["physical.path"] = path .. ".gz"
    end
end
return 0
