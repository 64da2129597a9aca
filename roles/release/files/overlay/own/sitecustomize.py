# Managed by Ansible (ntier.django): changes are overwritten.
"""Python runs this as it starts, in every program of a site without the settings overlay: its static files are those of a release all the same."""

from __future__ import annotations

import ntier_site

ntier_site.change_static_files()
