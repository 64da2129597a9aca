-- Installed by the role media of ntier.django. lighttpd runs it for an upload, before it sends the file.
local found = lighty.c.stat(lighty.r.req_attr["physical.path"])
-- Folders are not listed. Errors are not cached: the file may be uploaded later.
if not found or not found.is_file then
    return 404
end
lighty.r.resp_header["Cache-Control"] = "public, max-age=3600"
return 0
