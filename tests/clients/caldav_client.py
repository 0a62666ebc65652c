"""What people do with a calendar program: create a calendar, keep an event, find it again, delete the calendar.

    python caldav_client.py URL ADDRESS CERTIFICATES PASS

The host of the URL is at ADDRESS, HOST:PORT. It prints the titles of the events that it has found.
"""

import socket
import sys
from datetime import UTC, datetime

import caldav

url, address, certificates, secret = sys.argv[1:]
look_up = socket.getaddrinfo


def here(_host, _port, *arguments, **more):
    """Every host is at the address."""
    return look_up(*address.split(":"), *arguments, **more)


socket.getaddrinfo = here
with caldav.DAVClient(url, username="any", password=secret, ssl_verify_cert=certificates) as client:
    calendar = client.principal().make_calendar(name="Tea")
    times = {"dtstart": datetime(2026, 12, 5, 15, tzinfo=UTC), "dtend": datetime(2026, 12, 5, 16, tzinfo=UTC)}
    calendar.save_event(summary="Tea in the garden", **times)
    for event in calendar.events():
        print(event.icalendar_component["summary"])
    calendar.delete()
