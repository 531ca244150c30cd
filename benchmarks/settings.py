"""The unit suite's settings, as a production site would run them."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as TEST_APPS

DEBUG = False
FACEBOOK_PIXEL_ID = "1234567890123456"
INSTALLED_APPS = [*TEST_APPS, "analytical"]
ROOT_URLCONF = "benchmarks.page_cost"
