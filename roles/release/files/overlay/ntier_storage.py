# Managed by Ansible (ntier.django): changes are overwritten.
"""Static files under names that bear a hash of their content, for projects that were not written for it."""

from __future__ import annotations

import os

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.files.storage import FileSystemStorage


class ReleaseStaticFilesStorage(ManifestStaticFilesStorage):
    """Keeps the list of names in the release, so that each release finds its own files while all of them share one folder.

    A reference to a file that is not there stays as it was written, where Django's own class would refuse the whole project.
    """

    manifest_strict = False

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("manifest_storage", FileSystemStorage(location=os.environ["NTIER_RELEASE"]))
        super().__init__(*args, **kwargs)

    def hashed_name(self, name, content=None, filename=None):
        """Return the name with the hash, or the name as it is when there is no such file."""
        try:
            return super().hashed_name(name, content, filename)
        except ValueError:
            return name
