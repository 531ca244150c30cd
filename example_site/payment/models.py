"""What the bank knows of a payment. It has never heard of carts, products or shoppers."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone


class Payment(models.Model):
    """An amount that a merchant asked for, and where to say that it was paid."""

    token = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.CharField(max_length=80)
    reference = models.CharField(max_length=40)
    method = models.CharField(max_length=10)
    amount = models.DecimalField(max_digits=9, decimal_places=2)
    currency = models.CharField(max_length=3)
    webhook_url = models.URLField()
    return_url = models.URLField()
    cancel_url = models.URLField()
    created_at = models.DateTimeField(default=timezone.now)
    paid_at = models.DateTimeField(null=True)

    def __str__(self):
        return f"{self.reference}: {self.amount} {self.currency}"
