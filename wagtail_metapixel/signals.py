"""What other code may listen to.

``recorded``
    A row was committed to the outbox. Sent after the commit, once per transaction that recorded
    something. Arguments: ``using`` (database alias). Delivery drivers wake up on it.
``event_tracked``
    ``track()`` recorded an event. Arguments: ``event_name``, ``event_id``, ``site_pk``.
``event_withheld``
    The gate kept an event back. Arguments: ``event_name``, ``reason``, ``site_pk``.
``event_delivered``
    Meta accepted an event. Arguments: ``event_name``, ``event_id``, ``pixel_id``.
``event_rejected``
    An event will never be sent. Arguments: ``event_name``, ``event_id``, ``pixel_id``, ``reason``.

No argument ever holds personal data or an access token. All are sent with ``send_robust``: a
receiver that raises disturbs nobody.
"""

from __future__ import annotations

from django.dispatch import Signal

recorded = Signal()
event_tracked = Signal()
event_withheld = Signal()
event_delivered = Signal()
event_rejected = Signal()
