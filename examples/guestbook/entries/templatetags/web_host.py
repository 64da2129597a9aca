from django import template

from entries.server import hostname

register = template.Library()

# A tag rather than a context processor, because 500.html is rendered without any.
register.simple_tag(hostname, name="web_host")
