# Managed by Ansible (ntier.django): changes are overwritten.
"""What the cluster knows of the site: the settings.json of the release that this process belongs to."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys

# A process keeps the release that it started with, whatever becomes current meanwhile.
os.environ.setdefault("NTIER_RELEASE", os.path.realpath(f"/srv/{os.environ['NTIER_SITE']}/current"))

with open(
    os.environ.get("NTIER_SETTINGS", os.path.join(os.environ["NTIER_RELEASE"], "settings.json")), encoding="utf-8"
) as _file:
    NTIER_SITE = json.load(_file)

#: Whether C(ntier_settings) lies over the project's settings; releases from before the choice always have it.
OVERLAY = NTIER_SITE.get("settings_overlay", True)


_changed = []


class _AfterImport:
    """Changes a module of Django's as soon as something imports it, and costs nothing where nothing does."""

    def __init__(self, name, change):
        self._name, self._change = name, change

    def find_spec(self, name, path=None, target=None):
        """Return Django's own module, which is changed once it has run."""
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def run_and_change(module):
            run(module)
            self._change()

        spec.loader.exec_module = run_and_change
        return spec


def _change(module, function):
    """Have a function of ntier_storage change a module of Django's, now or when it is imported."""

    def change():
        getattr(importlib.import_module("ntier_storage"), function)()

    if module in sys.modules:
        change()
    else:
        sys.meta_path.insert(0, _AfterImport(module, change))


def change_static_files():
    """Have Django's static files work as those of one of many releases; it is enough once in a process."""
    if not _changed:
        _changed.append(True)
        _change("django.contrib.staticfiles.storage", "keep_lists_in_release")
        _change("django.contrib.staticfiles.management.commands.collectstatic", "collect_by_content")


def prepare():
    """Do for a process whose settings are the project's own what does not depend on them."""
    if OVERLAY:
        return
    if os.environ.get("DJANGO_CONFIGURATION"):
        # The classes of django-configurations can't be imported otherwise.
        importlib.import_module("configurations.importer").install()
    change_static_files()
