-- Installed by the role web of ntier.django. lighttpd runs it for a request to a site, before anybody else reads the headers.
local request = lighty.r
-- To a site, X_Forwarded_For and X-Forwarded-For are the same variable: a visitor must not write either.
local strange = {}
-- Other headers for the scheme; X-Forwarded-Proto alone counts.
local scheme = {
    ["x-forwarded-protocol"] = true,
    ["x-forwarded-ssl"] = true,
    ["x-forwarded-scheme"] = true,
    ["x-url-scheme"] = true,
    ["x-scheme"] = true,
    ["front-end-https"] = true,
    ["proxy"] = true,
}
for name in pairs(request.req_header) do
    if name:find("_", 1, true) or scheme[name:lower()] then
        strange[#strange + 1] = name
    end
end
for _, name in ipairs(strange) do
    request.req_header[name] = nil
end
-- What a trusted proxy has said of them is known by now.
request.req_header["X-Real-IP"] = request.req_attr["request.remote-addr"]
request.req_header["X-Forwarded-For"] = request.req_attr["request.remote-addr"]
request.req_header["X-Forwarded-Proto"] = request.req_attr["uri.scheme"]
return 0
