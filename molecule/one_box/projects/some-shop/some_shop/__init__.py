"""A Django project that is installed as a package."""
