from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import FileExtensionValidator
from django.template.defaultfilters import filesizeformat

from .models import Entry

MAX_PICTURE_SIZE = 10 * 1024 * 1024

# What every current browser can show; Pillow also reads formats like EPS or PDF.
PICTURE_FORMATS = {"JPEG", "PNG", "GIF", "WEBP"}
PICTURE_EXTENSIONS = ["jpg", "jpeg", "png", "gif", "webp"]


class PictureField(forms.ImageField):
    default_validators = [FileExtensionValidator(PICTURE_EXTENSIONS)]
    default_error_messages = {
        "too_large": "This picture is too large. The limit is %(limit)s.",
        "format": "Please choose a JPEG, PNG, GIF or WebP picture.",
    }

    def to_python(self, data):
        # Before the parent class, so that Pillow never opens a file that is refused anyway.
        size = getattr(data, "size", None)
        if size is not None and size > MAX_PICTURE_SIZE:
            raise ValidationError(
                self.error_messages["too_large"],
                code="too_large",
                params={"limit": filesizeformat(MAX_PICTURE_SIZE)},
            )
        picture = super().to_python(data)
        if picture is not None and picture.image.format not in PICTURE_FORMATS:
            raise ValidationError(self.error_messages["format"], code="format")
        return picture


class EntryForm(forms.ModelForm):
    picture = PictureField(
        required=False,
        help_text=f"JPEG, PNG, GIF or WebP, up to {filesizeformat(MAX_PICTURE_SIZE)}.",
        label="Picture (optional)",
        widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/gif,image/webp"}),
    )

    class Meta:
        model = Entry
        fields = ["message", "picture"]
        labels = {"message": "Your message"}
        widgets = {"message": forms.Textarea(attrs={"rows": 5, "placeholder": "Say hello…"})}
