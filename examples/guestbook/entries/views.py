from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers
from django.views.generic import CreateView, DetailView, FormView, ListView

from . import server as server_facts
from . import statistics as entry_statistics
from .forms import EntryForm
from .models import Entry


class EntryList(ListView):
    queryset = Entry.objects.select_related("author")
    paginate_by = 20

    def get_context_data(self, **kwargs):
        if self.request.user.is_authenticated:
            kwargs.setdefault("form", EntryForm())
        return super().get_context_data(**kwargs)


class EntryDetail(DetailView):
    queryset = Entry.objects.select_related("author")


class EntryCreate(LoginRequiredMixin, CreateView):
    model = Entry
    form_class = EntryForm
    success_url = reverse_lazy("entries:list")

    def form_valid(self, form):
        form.instance.author = self.request.user
        response = super().form_valid(form)
        messages.success(self.request, "Thank you for signing the guestbook!")
        return response

    def form_invalid(self, form):
        messages.error(self.request, "Your entry was not saved. Please have a look at the form.")
        return super().form_invalid(form)


class SignUp(FormView):
    form_class = UserCreationForm
    template_name = "registration/sign_up.html"
    success_url = reverse_lazy("entries:list")

    def dispatch(self, request, *args, **kwargs):
        if request.user.is_authenticated:
            return redirect(self.success_url)
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form):
        user = form.save()
        login(self.request, user)
        messages.success(self.request, f"Welcome, {user}! You can now sign the guestbook.")
        return super().form_valid(form)


@require_safe
def statistics(request):
    figures, cache_error = entry_statistics.get()
    context = {
        "figures": figures,
        "cache_error": cache_error,
        "cache_seconds": entry_statistics.CACHE_SECONDS,
    }
    return render(request, "entries/statistics.html", context)


# A transaction per request, where one is configured, would need the database
# before this view could report that there is none.
@transaction.non_atomic_requests
@require_safe
@never_cache
@vary_on_headers("Accept")
def server(request):
    facts = server_facts.describe(request)
    wanted = request.GET.get("format")
    if wanted is None and request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        wanted = "json"
    if wanted == "json":
        return JsonResponse(facts, json_dumps_params={"indent": 2})
    try:
        request.user.is_authenticated  # noqa: B018 - evaluates the lazy user
    except Exception:  # noqa: BLE001
        # The navigation asks for the user, who cannot be looked up without
        # the database. Show the page to nobody in particular instead.
        request.user = AnonymousUser()
    return render(request, "entries/server.html", {"facts": facts})
