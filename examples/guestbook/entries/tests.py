import shutil
import socket
import tempfile
import threading
from io import BytesIO
from unittest import mock

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import OperationalError, close_old_connections, connection
from django.template.loader import render_to_string
from django.test import Client, RequestFactory, TestCase, override_settings
from django.urls import clear_script_prefix, reverse
from PIL import Image

from . import forms, server
from .models import Entry

User = get_user_model()

LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


def picture(name="flower.png", image_format="PNG", size=(60, 40)):
    data = BytesIO()
    Image.new("RGB", size, "teal").save(data, image_format)
    return SimpleUploadedFile(name, data.getvalue(), content_type=f"image/{image_format.lower()}")


class GuestbookTestCase(TestCase):
    @classmethod
    def setUpClass(cls):
        media = tempfile.mkdtemp(prefix="guestbook-")
        cls.addClassCleanup(shutil.rmtree, media)
        # Setting the URLs, even to what they are, discards the values that
        # Django remembers with the script name of the first request.
        overlay = override_settings(CACHES=LOCMEM, MEDIA_ROOT=media, MEDIA_URL="media/", STATIC_URL="static/")
        overlay.enable()
        cls.addClassCleanup(overlay.disable)
        super().setUpClass()

    @classmethod
    def setUpTestData(cls):
        cls.user = User.objects.create_user("ada", password="correct horse battery")

    def setUp(self):
        cache.clear()
        self.addCleanup(cache.clear)


class AccountTests(GuestbookTestCase):
    def test_sign_up_signs_in(self):
        response = self.client.post(
            reverse("entries:sign_up"),
            {"username": "grace", "password1": "nanoseconds-of-wire", "password2": "nanoseconds-of-wire"},
            follow=True,
        )
        self.assertRedirects(response, reverse("entries:list"))
        self.assertContains(response, "Welcome, grace!")
        self.assertContains(response, "Signed in as <strong>grace</strong>")

    def test_sign_up_shows_errors(self):
        response = self.client.post(
            reverse("entries:sign_up"), {"username": "ada", "password1": "one", "password2": "two"}
        )
        self.assertContains(response, "already exists")
        self.assertEqual(User.objects.count(), 1)

    def test_sign_up_is_of_no_use_when_signed_in(self):
        self.client.force_login(self.user)
        self.assertRedirects(self.client.get(reverse("entries:sign_up")), reverse("entries:list"))

    def test_sign_in_and_out(self):
        response = self.client.post(reverse("login"), {"username": "ada", "password": "correct horse battery"})
        self.assertRedirects(response, reverse("entries:list"))
        self.assertEqual(self.client.get(reverse("logout")).status_code, 405)
        response = self.client.post(reverse("logout"), follow=True)
        self.assertContains(response, "Sign in")

    def test_forms_are_protected(self):
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.user)
        for name in ["entries:create", "login", "logout"]:
            with self.subTest(name):
                self.assertEqual(client.post(reverse(name), {"message": "forged"}).status_code, 403)


class EntryTests(GuestbookTestCase):
    def sign(self, **data):
        self.client.force_login(self.user)
        return self.client.post(reverse("entries:create"), data, follow=True)

    def test_empty_guestbook(self):
        response = self.client.get(reverse("entries:list"))
        self.assertContains(response, "Nobody has written anything yet")
        self.assertContains(response, reverse("login"))
        self.assertNotContains(response, "<textarea")

    def test_write_and_read_back_with_picture(self):
        response = self.sign(message="Greetings from <London>", picture=picture())
        self.assertRedirects(response, reverse("entries:list"))
        self.assertContains(response, "Thank you for signing the guestbook!")
        self.assertContains(response, "Greetings from &lt;London&gt;")
        entry = Entry.objects.get()
        self.assertEqual(entry.author, self.user)
        self.assertRegex(entry.picture.name, r"^pictures/\d{4}/\d{2}/flower.*\.png$")
        self.assertContains(response, f'src="{entry.picture.url}"')
        with entry.picture.open(), Image.open(entry.picture) as image:
            self.assertEqual(image.size, (60, 40))

    def test_permalink(self):
        entry = Entry.objects.create(author=self.user, message="Just words")
        response = self.client.get(f"/entries/{entry.pk}/")
        self.assertContains(response, "Just words")
        self.assertContains(response, f'href="{entry.get_absolute_url()}"')
        self.assertContains(self.client.get("/"), f'href="{entry.get_absolute_url()}"')

    def test_anonymous_cannot_post(self):
        response = self.client.post(reverse("entries:create"), {"message": "Who am I?"})
        self.assertRedirects(response, f"{reverse('login')}?next={reverse('entries:create')}")
        self.assertFalse(Entry.objects.exists())

    def test_refused(self):
        cut_off = picture().read()[:40]
        with mock.patch.object(forms, "MAX_PICTURE_SIZE", 50):
            self.assertRefused("too large", message="Big", picture=picture())
        self.assertRefused("valid image", message="No", picture=SimpleUploadedFile("a.png", b"not a picture"))
        self.assertRefused("valid image", message="Cut", picture=SimpleUploadedFile("a.png", cut_off))
        self.assertRefused("JPEG, PNG, GIF or WebP", message="Odd", picture=picture("a.png", "TIFF"))
        self.assertRefused("File extension", message="Odd", picture=picture("a.html"))
        self.assertRefused("required", message="  ")
        self.assertRefused("at most 2000 characters", message="x" * 2001)

    def assertRefused(self, reason, **data):
        with self.subTest(reason):
            response = self.sign(**data)
            self.assertContains(response, "Your entry was not saved.")
            self.assertContains(response, 'class="errorlist"')
            self.assertContains(response, reason)
            self.assertFalse(Entry.objects.exists())

    def test_pages(self):
        for number in range(21):
            Entry.objects.create(author=self.user, message=f"Message {number:02}")
        first = self.client.get("/")
        self.assertContains(first, "Message 20")
        self.assertNotContains(first, "Message 00")
        self.assertContains(first, "Page 1 of 2")
        self.assertContains(self.client.get("/", {"page": 2}), "Message 00")
        self.assertEqual(self.client.get("/", {"page": 3}).status_code, 404)

    def test_admin(self):
        Entry.objects.create(author=self.user, message="Seen by the admin", picture="pictures/flower.png")
        self.client.force_login(User.objects.create_superuser("root"))
        response = self.client.get(reverse("admin:entries_entry_changelist"), {"q": "admin"})
        self.assertContains(response, "Seen by the admin")
        self.assertContains(response, "/media/pictures/flower.png")


class StatisticsTests(GuestbookTestCase):
    def test_cached(self):
        Entry.objects.create(author=self.user, message="One")
        Entry.objects.create(author=self.user, message="Two", picture="pictures/flower.png")
        first = self.client.get(reverse("entries:statistics")).context["figures"]
        self.assertEqual((first["entries"], first["authors"], first["pictures"]), (2, 1, 1))
        self.assertEqual(cache.get("statistics"), first)

        Entry.objects.create(author=self.user, message="Three")
        self.assertEqual(self.client.get(reverse("entries:statistics")).context["figures"], first)

        cache.delete("statistics")
        third = self.client.get(reverse("entries:statistics")).context["figures"]
        self.assertEqual(third["entries"], 3)
        self.assertGreater(third["computed_at"], first["computed_at"])

    def test_empty(self):
        self.assertContains(self.client.get(reverse("entries:statistics")), "none yet")

    def test_without_cache(self):
        with mock.patch.object(cache, "get_or_set", side_effect=ConnectionRefusedError("nobody there")):
            response = self.client.get(reverse("entries:statistics"))
        self.assertContains(response, "ConnectionRefusedError: nobody there")


class ServerTests(GuestbookTestCase):
    KEYS = {
        "web": {"host", "pid", "python", "django"},
        "database": {"vendor", "name", "address", "port", "version", "in_recovery"},
        "cache": {"backend", "servers", "requests", "ok", "milliseconds"},
        "request": {"scheme", "host", "script_name", "remote_addr", "path"},
    }

    def get_json(self, **headers):
        return self.client.get(reverse("entries:server"), {"format": "json"}, headers=headers).json()

    def test_json(self):
        facts = self.get_json()
        self.assertEqual(facts.keys(), {*self.KEYS, "release"})
        for name, keys in self.KEYS.items():
            self.assertEqual(facts[name].keys(), keys)
        self.assertTrue(facts["cache"]["ok"])
        self.assertEqual(facts["database"]["vendor"], connection.vendor)
        self.assertEqual(facts["request"]["host"], "testserver")

    def test_negotiation(self):
        for accept, expected in [
            ("application/json", "application/json"),
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
            ("*/*", "text/html; charset=utf-8"),
        ]:
            with self.subTest(accept):
                response = self.client.get(reverse("entries:server"), headers={"accept": accept})
                self.assertEqual(response["Content-Type"], expected)

    def test_page(self):
        response = self.client.get(reverse("entries:server"))
        self.assertContains(response, "Who answered?")
        self.assertContains(response, f'<strong id="web-host">{server.hostname()}</strong>')

    def test_database_down(self):
        self.client.force_login(self.user)
        with mock.patch.object(connection, "cursor", side_effect=OperationalError("no route\nto host")):
            facts = self.get_json()
            response = self.client.get(reverse("entries:server"))
        self.assertEqual(facts["database"]["error"], "OperationalError: no route")
        self.assertContains(response, "OperationalError: no route")

    def test_cache_down(self):
        with mock.patch.object(cache, "set", side_effect=ConnectionRefusedError("refused")):
            facts = self.get_json()
            self.assertContains(self.client.get(reverse("entries:server")), "ConnectionRefusedError: refused")
        self.assertEqual(facts["cache"]["error"], "ConnectionRefusedError: refused")
        self.assertIs(facts["cache"]["ok"], False)
        self.assertIsNone(facts["cache"]["milliseconds"])

    @override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}})
    def test_cache_forgets(self):
        self.assertEqual(self.get_json()["cache"]["error"], "no answer")

    def test_cache_servers(self):
        for location, servers in [
            (None, []),
            ("10.0.0.1:11211", ["10.0.0.1:11211"]),
            ("10.0.0.1:11211; 10.0.0.2:11211", ["10.0.0.1:11211", "10.0.0.2:11211"]),
            (["10.0.0.1:11211", "unix:/run/cache.sock"], ["10.0.0.1:11211", "unix:/run/cache.sock"]),
            ("redis://user:secret@10.0.0.1:6379/0", ["redis://10.0.0.1:6379/0"]),
        ]:
            with self.subTest(location):
                self.assertEqual(server.cache_servers(location), servers)

    def memcached(self, answer):
        """Return the address of a server that gives the one answer to the first who asks."""
        listening = socket.create_server(("127.0.0.1", 0))

        def serve():
            connection, _address = listening.accept()
            with listening, connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        return f"127.0.0.1:{listening.getsockname()[1]}"

    def test_memcached_requests(self):
        figures = b"STAT pid 1\r\nSTAT cmd_get 5\r\nSTAT cmd_set 2\r\nSTAT version 1.6\r\nEND\r\n"
        self.assertEqual(server.memcached_requests(self.memcached(figures)), 7)
        for answer in [b"", b"ERROR\r\n", b"STAT cmd_get\r\n", b"STAT cmd_get x\r\nSTAT cmd_set 1\r\n"]:
            with self.subTest(answer):
                self.assertIsNone(server.memcached_requests(self.memcached(answer)))
        for nobody in ["127.0.0.1:1", "unix:/run/cache.sock", "nowhere"]:
            with self.subTest(nobody):
                self.assertIsNone(server.memcached_requests(nobody))

    def test_page_with_memcached(self):
        requests = {"10.0.0.1:11211": 1234, "10.0.0.2:11211": None}
        with (
            mock.patch.object(server, "cache_servers", return_value=list(requests)),
            mock.patch.object(server, "memcached_requests", side_effect=requests.get),
            # Django has made its cache of this already.
            mock.patch.dict(settings.CACHES["default"], BACKEND="PyMemcacheCache"),
        ):
            facts = self.get_json()
            response = self.client.get(reverse("entries:server"))
        self.assertEqual(facts["cache"]["requests"], requests)
        self.assertContains(response, "<dd>1234<br>no answer</dd>")


class ScriptNameTests(GuestbookTestCase):
    """The site below a prefix, through the real WSGI handler: the test client does not set the prefix."""

    def setUp(self):
        super().setUp()
        self.addCleanup(clear_script_prefix)
        # At the end of a real request the connection may be closed, and with
        # it the transaction that this test runs in.
        for signal in [request_started, request_finished]:
            signal.disconnect(close_old_connections)
            self.addCleanup(signal.connect, close_old_connections)
        self.handler = WSGIHandler()

    def request(self, path, method="GET", **extra):
        environ = RequestFactory().generic(method, path, SCRIPT_NAME="/shop", **extra).environ
        answer = {}

        def start_response(status, headers):
            answer.update(status=int(status.split()[0]), headers=dict(headers))

        response = self.handler(environ, start_response)
        answer["body"] = b"".join(response).decode()
        response.close()
        return answer

    def test_links(self):
        entry = Entry.objects.create(author=self.user, message="Below", picture="pictures/flower.png")
        for path in ["/", f"/entries/{entry.pk}/", "/statistics/", "/server/", "/sign-up/", "/accounts/login/"]:
            with self.subTest(path):
                answer = self.request(path)
                self.assertEqual(answer["status"], 200)
                self.assertNotRegex(answer["body"], r'(href|src|action)="/(?!shop/)')
        body = self.request("/")["body"]
        self.assertIn('src="/shop/media/pictures/flower.png"', body)
        self.assertIn('href="/shop/static/entries/style.css"', body)
        self.assertIn(f'href="/shop/entries/{entry.pk}/"', body)

    def test_server(self):
        body = self.request("/server/", QUERY_STRING="format=json")["body"]
        self.assertIn('"script_name": "/shop"', body)
        self.assertIn('"path": "/shop/server/"', body)

    def test_sign_in_redirect(self):
        answer = self.request("/entries/new/")
        self.assertEqual(answer["status"], 302)
        self.assertEqual(answer["headers"]["Location"], "/shop/accounts/login/?next=/shop/entries/new/")


class ErrorPageTests(GuestbookTestCase):
    def test_not_found(self):
        for path in ["/nowhere/", "/entries/12345/"]:
            self.assertContains(self.client.get(path), "not in the book", status_code=404)

    def test_server_error(self):
        self.client.raise_request_exception = False
        with mock.patch.object(server, "describe", side_effect=RuntimeError):
            self.assertContains(self.client.get(reverse("entries:server")), "An ink blot", status_code=500)

    def test_server_error_without_request(self):
        self.assertIn(server.hostname(), render_to_string("500.html"))

    def test_static_files_exist(self):
        for name in ["entries/style.css", "entries/logo.svg"]:
            self.assertIsNotNone(finders.find(name))
