"""Everything of the shop that is not a Wagtail page."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from shop import views
from shop.forms import SignInForm

urlpatterns = [
    path("search/", views.search, name="search"),
    path("cart/", views.cart, name="cart"),
    path("cart/badge/", views.badge, name="badge"),
    path("cart/add/<int:pk>/", views.add_to_cart, name="add_to_cart"),
    path("cart/line/<int:pk>/", views.change_line, name="change_line"),
    path("checkout/", views.checkout, name="checkout"),
    path("checkout/payment/<uuid:token>/", views.choose_payment, name="choose_payment"),
    path("checkout/return/<uuid:token>/", views.checkout_return, name="checkout_return"),
    path("checkout/thanks/<uuid:token>/", views.thanks, name="thanks"),
    path("checkout/thanks/<uuid:token>/status/", views.payment_status, name="payment_status"),
    path("payments/webhook/", views.payment_webhook, name="payment_webhook"),
    path("account/", views.account, name="account"),
    path("account/register/", views.register, name="register"),
    path(
        "account/sign-in/",
        LoginView.as_view(authentication_form=SignInForm, redirect_authenticated_user=True),
        name="login",
    ),
    path("account/sign-out/", LogoutView.as_view(), name="logout"),
]
