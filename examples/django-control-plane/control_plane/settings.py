"""Settings of the example. A real site takes `models.py`, `views.py` and `urls.py` into its own."""

import os

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only for this example")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "control_plane.urls"
INSTALLED_APPS = ["control_plane"]
# No sessions and no cookies: engines carry a bearer token, so there is nothing to forge either.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("CONTROL_PLANE_DB", "control_plane.db")}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
# Reports with profiles of wide tables are longer than Django's 2.5 MB.
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024
TRANSLOAD_TOKEN = os.environ.get("TRANSLOAD_CONTROL_PLANE_TOKEN", "")
