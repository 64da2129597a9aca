-- Installed by the role media of ntier.django. lighttpd runs it for a path outside of the sites' files.
return 404
