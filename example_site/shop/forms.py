"""The shop's forms."""

from __future__ import annotations

from django import forms
from django.contrib.auth import get_user_model, password_validation
from django.contrib.auth.forms import AuthenticationForm

from shop.carts import MOST_OF_ONE
from shop.models import Order, PaymentMethod


class AddToCartForm(forms.Form):
    """How many of a product."""

    quantity = forms.IntegerField(min_value=1, max_value=MOST_OF_ONE)


class QuantityForm(forms.Form):
    """How many of a line of the cart; 0 removes it."""

    quantity = forms.IntegerField(min_value=0, max_value=MOST_OF_ONE)


def _text(autocomplete, **attrs):
    return forms.TextInput(attrs={"autocomplete": autocomplete, **attrs})


class CheckoutForm(forms.ModelForm):
    """Who orders, and where to."""

    class Meta:
        model = Order
        fields = [
            "email",
            "phone",
            "first_name",
            "last_name",
            "street",
            "zip",
            "city",
            "country",
        ]
        labels = {"phone": "Phone (optional)", "email": "E-mail"}
        help_texts = {"phone": "Only if the parcel service cannot find you."}
        widgets = {
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
            "phone": _text("tel", type="tel"),
            "first_name": _text("given-name"),
            "last_name": _text("family-name"),
            "street": _text("street-address"),
            "zip": _text("postal-code"),
            "city": _text("address-level2"),
            "country": forms.Select(attrs={"autocomplete": "country"}),
        }


class PaymentForm(forms.Form):
    """How to pay."""

    method = forms.ChoiceField(
        label="How would you like to pay?",
        choices=PaymentMethod.choices,
        widget=forms.RadioSelect,
        initial=PaymentMethod.CARD,
    )


class RegistrationForm(forms.ModelForm):
    """A customer account; the e-mail address is the user name."""

    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters.",
    )

    class Meta:
        model = get_user_model()
        fields = ["first_name", "email"]
        widgets = {
            "first_name": _text("given-name"),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
        }

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["email"].label = "E-mail"
        self.fields["email"].required = True
        self.fields["first_name"].required = True

    def clean_email(self):
        email = self.cleaned_data["email"].lower()
        if get_user_model().objects.filter(username=email).exists():
            raise forms.ValidationError("There is an account with this address. Sign in instead.")
        return email

    def _post_clean(self):
        super()._post_clean()
        if password := self.cleaned_data.get("password"):
            try:
                password_validation.validate_password(password, self.instance)
            except forms.ValidationError as error:
                self.add_error("password", error)

    def save(self, commit=True):
        user = super().save(commit=False)
        user.username = user.email
        user.set_password(self.cleaned_data["password"])
        if commit:
            user.save()
        return user


class SignInForm(AuthenticationForm):
    """Django's form, asking for the e-mail address."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "E-mail"
        self.fields["username"].widget.attrs["autocomplete"] = "email"

    def clean_username(self):
        return self.cleaned_data["username"].lower()
