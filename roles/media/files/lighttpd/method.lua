-- Installed by the role media of ntier.django. lighttpd runs it for a request that would do more than read.
return 405
