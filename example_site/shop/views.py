"""The shop's views. Calls of ``track`` and ``remember`` are all there is of wagtail-metapixel."""

from __future__ import annotations

import hmac
import json
import re

from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseBadRequest, HttpResponseForbidden
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from payment.webhooks import SIGNATURE_HEADER, sign

from shop import carts, orders
from shop.forms import AddToCartForm, CheckoutForm, PaymentForm, QuantityForm, RegistrationForm
from shop.models import CURRENCY, Order, ProductPage
from shop.origin import same_origin_post
from wagtail_metapixel.tracking import track

# Search


@require_safe
def search(request):
    """Show the products that match ?q=. The same bytes for every visitor."""
    query = request.GET.get("q", "").strip()[:100]
    context = {"query": query, "products": matching(query)}
    return render(request, "shop/search.html", context)


def matching(query):
    """The product with this article number, or those in which every word begins one of theirs."""
    products = ProductPage.objects.live()
    if article := products.filter(sku__iexact=query).first():
        return [article]
    # Words only: some search backends take a lonely quotation mark for syntax, and fail.
    words = " ".join(re.findall(r"\w+", query))
    return list(products.autocomplete(words)[:24]) if words else []


# Cart


@never_cache
@require_safe
def badge(request):
    """Return the number in the cart, for the header of pages that a cache keeps."""
    summary = carts.Summary(carts.open_cart(request))
    return render(request, "shop/includes/badge.html", {"summary": summary})


@never_cache
@require_safe
def cart(request):
    summary = carts.Summary(carts.open_cart(request))
    return render(request, "shop/cart.html", {"summary": summary})


@never_cache
@require_POST
@same_origin_post
def add_to_cart(request, pk):
    product = get_object_or_404(ProductPage.objects.live(), pk=pk)
    form = AddToCartForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("The quantity has to be a number from 1 to 20.")
    quantity = form.cleaned_data["quantity"]
    filled = carts.add(request, product, quantity)
    track(
        "AddToCart",
        request,
        value=product.price * quantity,
        currency=CURRENCY,
        content_name=product.title,
        content_type="product",
        contents=product.contents(quantity),
    )
    if not request.htmx:
        return redirect("cart")
    context = {"summary": carts.Summary(filled), "product": product, "quantity": quantity}
    return render(request, "shop/includes/added.html", context)


@never_cache
@require_POST
def change_line(request, pk):
    form = QuantityForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("The quantity has to be a number from 0 to 20.")
    open_cart = carts.open_cart(request)
    carts.set_quantity(open_cart, pk, form.cleaned_data["quantity"])
    if not request.htmx:
        return redirect("cart")
    context = {"summary": carts.Summary(open_cart), "swap": True}
    return render(request, "shop/includes/cart_contents.html", context)


# Checkout


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def checkout(request):
    """Ask for the address, and place the order."""
    last_cart = carts.session_cart(request)
    if order := getattr(last_cart, "order", None):
        return redirect(next_step(order) if request.method == "POST" else "cart")
    summary = carts.Summary(last_cart)
    if not summary.lines:
        return redirect("cart")
    form = CheckoutForm(request.POST or None, initial=known_address(request.user))
    if request.method == "POST" and form.is_valid():
        order = orders.place(request, last_cart, form)
        return redirect(next_step(order))
    if request.method == "GET":
        track(
            "InitiateCheckout",
            request,
            key=(last_cart, timezone.localdate()),
            value=summary.total,
            currency=CURRENCY,
            content_type="product",
            contents=summary.contents(),
            num_items=summary.count,
        )
    return render(request, "shop/checkout.html", {"form": form, "summary": summary})


def known_address(user):
    """What a signed-in shopper need not type again."""
    if not user.is_authenticated:
        return {}
    if last := user.orders.first():
        return {name: getattr(last, name) for name in CheckoutForm.Meta.fields}
    return {"email": user.email, "first_name": user.first_name, "last_name": user.last_name}


def next_step(order):
    """Where somebody with this order in hand has to go."""
    return reverse("thanks" if order.is_paid else "choose_payment", args=[order.token])


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def choose_payment(request, token):
    order = get_object_or_404(Order, token=token)
    if order.is_paid:
        return redirect(next_step(order))
    form = PaymentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        order.payment_method = form.cleaned_data["method"]
        order.save(update_fields=["payment_method"])
        track(
            "AddPaymentInfo",
            request,
            value=order.total,
            currency=CURRENCY,
            content_type="product",
            contents=order.contents(),
        )
        return redirect(orders.begin_payment(order))
    return render(request, "shop/payment.html", {"form": form, "order": order})


@csrf_exempt
@never_cache
@require_http_methods(["GET", "POST"])
def checkout_return(request, token):  # noqa: ARG001 - nothing of it may be believed
    """Take the shopper back from the bank, whose page posts a form to us.

    That request comes from another site, so it has none of our cookies: the session must not be
    touched here, or the shopper would get a new, empty one. It proves nothing either; whether
    the order was paid is for the webhook to say.
    """
    order = get_object_or_404(Order, token=token)
    answer = HttpResponse(status=303)
    answer["Location"] = reverse("thanks", args=[order.token])
    return answer


@never_cache
@require_safe
def thanks(request, token):
    order = get_object_or_404(Order.objects.prefetch_related("lines"), token=token)
    return render(request, "shop/thanks.html", {"order": order})


@never_cache
@require_safe
def payment_status(request, token):
    """Return the part of the thank-you page that waits for the bank."""
    order = get_object_or_404(Order, token=token)
    return render(request, "shop/includes/payment_status.html", {"order": order})


@csrf_exempt
@never_cache
@require_POST
def payment_webhook(request):
    """Believe the bank when it says that an order was paid, as often as it says so."""
    body = request.body
    signature = request.headers.get(SIGNATURE_HEADER, "")
    if not hmac.compare_digest(signature.encode(), sign(body).encode()):
        return HttpResponseForbidden("The signature does not fit the body.")
    message = json.loads(body)
    if message["type"] == "payment.paid":
        orders.mark_paid(message["reference"])
    return HttpResponse(status=204)


# Account


@never_cache
@require_safe
@login_required
def account(request):
    return render(request, "shop/account.html", {"orders": request.user.orders.all()})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def register(request):
    if request.user.is_authenticated:
        return redirect("account")
    form = RegistrationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.save()
        login(request, user)
        track(
            "CompleteRegistration",
            request,
            key=user,
            content_name="Customer account",
            user_data={"email": user.email, "first_name": user.first_name},
        )
        return redirect("account")
    return render(request, "shop/register.html", {"form": form})
