-- Installed by the role media of ntier.django. lighttpd runs it for an upload, before it sends the file.
local found = lighty.c.stat(lighty.r.req_attr["physical.path"])
-- What is missing now may be there in a minute: nobody shall keep an error.
if found and found.is_file then
    lighty.r.resp_header["Cache-Control"] = "public, max-age=3600"
end
return 0
