"""A browser, and the proxy before an app that asks at the gate before each request, as nginx, Caddy and Traefik do."""

import re
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

OURS = "http://127.0.0.1:8080"
PHOTOS = "https://photos.example.org"
OPENED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}
MAX_LED = 10


class Visitor:
    """A browser with cookies of its own; `slugs` says which project's app stands at which origin, `root` our own path.

    It keeps cookies by their host, as browsers do, and refuses those that a name forbids. What an app answers is the
    gate's own 200, with what it says of the visitor.
    """

    def __init__(self, application, slugs, keeps=True, root=""):
        self.client = application.test_client(use_cookies=False)
        self.slugs, self.keeps, self.root = slugs, keeps, root
        self.jars: dict[str, dict[str, str]] = {}
        self.hops: list[str] = []

    def jar(self, url):
        """The cookies of a host, for all its ports."""
        return self.jars.setdefault(str(urlsplit(url).hostname), {})

    def open(self, url, **headers):
        """Open a page as by a click, and go wherever one is led; the last answer, of `hops` the last address."""
        self.hops = [url]
        answer = self.once(url, **{**OPENED, **headers})
        while answer.status_code in (302, 303):
            assert len(self.hops) < MAX_LED, self.hops
            self.hops.append(urljoin(self.hops[-1], answer.location))
            answer = self.once(self.hops[-1], **{**OPENED, **headers})
        return answer

    def once(self, url, method="GET", data=None, **headers):
        """One request to us or, through its proxy, to an app."""
        parts = urlsplit(url)
        origin, asked = (
            f"{parts.scheme}://{parts.netloc}",
            f"{parts.path or '/'}{url[url.find('?') :] if parts.query else ''}",
        )
        headers = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in self.jar(url).items())}
        if origin in self.slugs:
            told = {"X-Forwarded-Host": parts.netloc, "X-Forwarded-Uri": asked, "X-Forwarded-Method": method}
            path = asked if asked.startswith("/.invite/") else f"/gate/{self.slugs[origin]}?redirect"
            answer = self.client.get(path, headers={**headers, **told})
        else:
            assert url.startswith(f"{OURS}{self.root}/"), url
            asked = asked.removeprefix(self.root)
            answer = self.client.open(asked, method=method, data=data, headers=headers)
        self._keep(url, answer)
        return answer

    def send(self, page, action, **typed):
        """Send the form of a page that stood at the last address, with what was typed, and go wherever one is led."""
        form = [each for each in re.findall("<form.*?</form>", page.text, re.S) if f'action="{action}"' in each][-1]
        hidden = dict(re.findall('<input (?:type="hidden"|hidden readonly) name="([^"]*)" value="([^"]*)"', form))
        url = urljoin(self.hops[-1], action)
        assert self.may_lead(page, urlsplit(url)), "the page forbids it"
        answer = self.once(url, "POST", {**hidden, **typed}, **{"Sec-Fetch-Site": "same-origin"})
        self.hops = [url]
        if answer.status_code not in (302, 303):
            return answer
        last = self.open(urljoin(url, answer.location))
        for each in self.hops:
            assert self.may_lead(page, urlsplit(each)), "a browser forbids this form to lead there"
        return last

    def may_lead(self, page, to):
        """Whether a page permits its forms to lead to an address."""
        allowed = re.search("form-action ([^;]*)", page.headers["Content-Security-Policy"])[1].split()
        return f"{to.scheme}://{to.netloc}" in (OURS, *allowed)

    def _keep(self, url, answer):
        for text in answer.headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(text).items():
                is_held = morsel["secure"] and morsel["path"] == "/" and not morsel["domain"]
                assert is_held or not name.startswith("__Host-"), text
                assert morsel["httponly"], text
                assert morsel["samesite"] == "Lax", text
                if morsel["max-age"] == "0":
                    self.jar(url).pop(name, None)
                elif self.keeps and (url.startswith("https:") or not morsel["secure"]):
                    self.jar(url)[name] = morsel.value
