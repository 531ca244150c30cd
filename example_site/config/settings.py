"""Settings of the example shop. What concerns wagtail-metapixel is marked "metapixel".

The environment changes what the README's table lists; without any, the shop runs on
http://127.0.0.1:8000, its payment page on http://localhost:8000, and Meta is the sandbox on
http://127.0.0.1:8001.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent


def switched_on(name, default="0"):
    return os.environ.get(name, default).lower() in {"1", "true", "yes", "on"}


# Where things are

EXAMPLE_SHOP = os.environ.get("EXAMPLE_SHOP", "http://127.0.0.1:8000").rstrip("/")
EXAMPLE_PAYMENT = os.environ.get("EXAMPLE_PAYMENT", "http://localhost:8000").rstrip("/")
EXAMPLE_SANDBOX = os.environ.get("EXAMPLE_SANDBOX", "http://127.0.0.1:8001").rstrip("/")
EXAMPLE_META_HOSTS = switched_on("EXAMPLE_META_HOSTS")
EXAMPLE_WAGTAIL_CACHE = os.environ.get("EXAMPLE_FULL_PAGE_CACHE") == "wagtail-cache"
EXAMPLE_FULL_PAGE_CACHE = switched_on("EXAMPLE_FULL_PAGE_CACHE")

# What the payment provider and the shop know of each other

EXAMPLE_WEBHOOK_DELAY = float(os.environ.get("EXAMPLE_WEBHOOK_DELAY", "2"))
EXAMPLE_WEBHOOK_SECRET = os.environ.get("EXAMPLE_WEBHOOK_SECRET", "example-webhook-secret")

# Django

DEBUG = switched_on("DEBUG", default="1")
SECRET_KEY = os.environ.get("SECRET_KEY", "example-only-never-use-this-key-for-a-real-shop")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"] + [
    host for url in (EXAMPLE_SHOP, EXAMPLE_PAYMENT) if (host := urlsplit(url).hostname)
]

INSTALLED_APPS = [
    "shop",
    "payment",
    "wagtail_metapixel",  # metapixel
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.settings",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "csp",
    "django_htmx",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "wagtail_metapixel.middleware.MetaPixelMiddleware",  # metapixel: above cache and session
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.hosts.TwoHostsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]


def with_full_page_cache(middleware, package="django.middleware.cache"):
    """Return ``middleware`` with a cache of whole pages, below the one of metapixel.

    ``package`` is Django's cache, or another's of the same form.
    """
    below = middleware.index("wagtail_metapixel.middleware.MetaPixelMiddleware") + 1
    return [
        *middleware[:below],
        f"{package}.UpdateCacheMiddleware",
        *middleware[below:],
        f"{package}.FetchFromCacheMiddleware",
    ]


CACHE_MIDDLEWARE_SECONDS = 600
if EXAMPLE_WAGTAIL_CACHE:  # it has no release for Wagtail 8 yet
    INSTALLED_APPS.append("wagtailcache")
    MIDDLEWARE = with_full_page_cache(MIDDLEWARE, "wagtailcache.cache")
elif EXAMPLE_FULL_PAGE_CACHE:
    MIDDLEWARE = with_full_page_cache(MIDDLEWARE)

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database(address):
    """Return Django's settings for a postgres:// address, or for the path of a SQLite file."""
    if address.startswith(("postgres://", "postgresql://")):
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query))
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or options.pop("host", ""),
            "PORT": parts.port or "",
            "OPTIONS": options,
        }
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": address,
        # The shop and the delivery of events both write: without IMMEDIATE, a transaction that
        # reads first and writes later fails with "database is locked" instead of waiting.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


DATABASES = {"default": database(os.environ.get("EXAMPLE_DB") or str(BASE_DIR / "db.sqlite3"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "Europe/Berlin"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static_root"
MEDIA_URL = "/media/"
MEDIA_ROOT = BASE_DIR / "media"

EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
DEFAULT_FROM_EMAIL = "Linden & Salt <hello@linden-and-salt.example>"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "account"
LOGOUT_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]

# Wagtail

WAGTAIL_SITE_NAME = "Linden & Salt"
WAGTAILADMIN_BASE_URL = EXAMPLE_SHOP
WAGTAILSEARCH_BACKENDS = {"default": {"BACKEND": "wagtail.search.backends.database"}}
# Nothing leaves the machine: not even the admin asks for avatars, or whether it is up to date.
WAGTAIL_GRAVATAR_PROVIDER_URL = None
WAGTAIL_ENABLE_UPDATE_CHECK = False

# metapixel: what belongs to the deployment. What belongs to the owner of the site (the pixel,
# its hosts, where consent comes from) is in the Wagtail admin under Settings > Meta Pixel.

WAGTAIL_METAPIXEL = {
    "ACCESS_TOKENS": {"1234567890123456": "SANDBOX-TOKEN-1234567890"},
    "SANDBOX": EXAMPLE_SANDBOX,
}
if EXAMPLE_META_HOSTS:
    WAGTAIL_METAPIXEL["SCRIPT_URL"] = "https://connect.facebook.net/en_US/fbevents.js"

# metapixel: the Content Security Policy. No inline script and no inline style, anywhere.

META_SCRIPT = "https://connect.facebook.net"
META = "https://www.facebook.com"
# Where the browser talks to the sandbox under its own name instead of Meta's.
SANDBOX = [] if EXAMPLE_META_HOSTS or not EXAMPLE_SANDBOX else [EXAMPLE_SANDBOX]

CONTENT_SECURITY_POLICY = {
    # Wagtail's admin has inline styles of its own.
    "EXCLUDE_URL_PREFIXES": ("/admin/",),
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'", META_SCRIPT, *SANDBOX],
        "style-src": ["'self'"],
        "img-src": ["'self'", META, *SANDBOX],
        "font-src": ["'self'"],
        "connect-src": ["'self'", META, META_SCRIPT, *SANDBOX],
        "frame-src": [META, *SANDBOX],
        # A browser also asks this of the addresses a form is redirected to.
        "form-action": ["'self'", META, EXAMPLE_PAYMENT, *SANDBOX],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    },
}
