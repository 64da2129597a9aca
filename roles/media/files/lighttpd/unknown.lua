-- Installed by the role media of ntier.django. lighttpd runs it for a host name that no site has.
return 421
