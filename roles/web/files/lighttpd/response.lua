-- Installed by the role web of ntier.django. lighttpd runs it for a site's answer, before it sends the headers.
local headers = lighty.r.resp_header
-- Security headers, where the site itself does not set them.
local usual = {
    ["X-Content-Type-Options"] = "nosniff",
    ["Referrer-Policy"] = "strict-origin-when-cross-origin",
    ["X-Frame-Options"] = "SAMEORIGIN",
}
for name, value in pairs(usual) do
    if not headers[name] then
        headers[name] = value
    end
end
return 0
