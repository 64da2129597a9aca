from django.urls import path

from . import views

app_name = "entries"

urlpatterns = [
    path("", views.EntryList.as_view(), name="list"),
    path("entries/new/", views.EntryCreate.as_view(), name="create"),
    path("entries/<int:pk>/", views.EntryDetail.as_view(), name="detail"),
    path("sign-up/", views.SignUp.as_view(), name="sign_up"),
    path("statistics/", views.statistics, name="statistics"),
    path("server/", views.server, name="server"),
]
