from django.contrib import admin
from django.utils.html import format_html
from django.utils.text import Truncator

from .models import Entry


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    list_display = ["excerpt", "author", "created", "thumbnail"]
    list_filter = ["created"]
    list_select_related = ["author"]
    search_fields = ["message", "author__username"]
    autocomplete_fields = ["author"]
    readonly_fields = ["created", "thumbnail"]
    fields = ["author", "message", "picture", "thumbnail", "created"]

    @admin.display(description="message", ordering="message")
    def excerpt(self, entry):
        return Truncator(entry.message).chars(60)

    @admin.display(description="thumbnail", empty_value="–")
    def thumbnail(self, entry):
        if not entry.picture:
            return None
        return format_html('<img src="{}" alt="Picture by {}" height="48">', entry.picture.url, entry.author)
