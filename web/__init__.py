"""The web's machinery: what surrounds every request, whatever dialect it is in."""
