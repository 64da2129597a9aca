from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.text import Truncator


class Entry(models.Model):
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="entries")
    message = models.TextField(max_length=2000)
    picture = models.ImageField(upload_to="pictures/%Y/%m", blank=True)
    created = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        # The primary key settles ties, so that no entry appears on two pages.
        ordering = ["-created", "-pk"]
        verbose_name_plural = "entries"

    def __str__(self):
        return f"{self.author}: {Truncator(self.message).chars(40)}"

    def get_absolute_url(self):
        return reverse("entries:detail", args=[self.pk])
