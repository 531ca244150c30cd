"""The tables of a small shop, for an order to be written to."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Product(models.Model):
    """What is sold, and how much of it is left."""

    sku = models.CharField(max_length=40, unique=True)
    stock = models.IntegerField(default=10**9)

    def __str__(self) -> str:
        return self.sku


class Address(models.Model):
    """Where an order goes."""

    name = models.CharField(max_length=120)
    street = models.CharField(max_length=120)
    city = models.CharField(max_length=80)
    postcode = models.CharField(max_length=20)
    country = models.CharField(max_length=2)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """One checkout."""

    number = models.CharField(max_length=40, unique=True)
    email = models.EmailField()
    address = models.ForeignKey(Address, on_delete=models.PROTECT)
    total = models.DecimalField(max_digits=9, decimal_places=2)
    currency = models.CharField(max_length=3)
    placed_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.number


class Line(models.Model):
    """So many of one product."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.IntegerField()
    price = models.DecimalField(max_digits=9, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.quantity} at {self.price}"


class Payment(models.Model):
    """What was charged for an order."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    method = models.CharField(max_length=20)
    reference = models.CharField(max_length=80)
    amount = models.DecimalField(max_digits=9, decimal_places=2)

    def __str__(self) -> str:
        return self.reference
