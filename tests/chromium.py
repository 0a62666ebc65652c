"""A real browser: what a person does with it, and what they see. The screenshots of docs/ are taken with it, too."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException, WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

# No service of its maker's is asked for anything, and what is drawn is the same everywhere.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--accept-lang=en-GB",
)
TIMEOUT = 15  # seconds until what should come is said not to come
DESKTOP = (1200, 900)


@contextmanager
def started(chromium: str, chromedriver: str, *flags: str, cookies: bool = True) -> Iterator[webdriver.Chrome]:
    """A browser that runs until the block ends; both programs by their paths, so that none is looked for elsewhere.

    With `flags` beyond the usual ones; without `cookies` it keeps none.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, *flags):
        options.add_argument(flag)
    if not cookies:
        options.add_experimental_option("prefs", {"profile.default_content_setting_values.cookies": 2})
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


class Window:
    """One window, and whoever sits before it; `origin` is what the paths they open start with."""

    _numbers = itertools.count()

    def __init__(self, driver: webdriver.Chrome, origin: str = "") -> None:
        self.driver, self.origin = driver, origin

    def fresh(self) -> None:
        """As if somebody else sat down: no cookies, nothing kept, a wide light screen, scripts run."""
        self._close_question()
        self.scripts(True)
        self.driver.get("about:blank")
        for forget in ("Network.clearBrowserCookies", "Network.clearBrowserCache"):
            self.tell(forget)
        self.dark(False)
        self.size(*DESKTOP)

    def tell(self, command: str, **facts: Any) -> Any:
        """A command of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(command, facts)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns in this page; it runs even where the page's own do not."""
        return self.driver.execute_script(script, *arguments)

    def scripts(self, on: bool) -> None:
        """Let pages run scripts, or not."""
        self.tell("Emulation.setScriptExecutionDisabled", value=not on)

    def dark(self, on: bool) -> None:
        """Prefer dark pages, or light ones."""
        wish = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[wish])

    def size(self, width: int, height: int, scale: float = 1) -> None:
        """Make the window so many CSS pixels large."""
        self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def open(self, path: str) -> None:
        """Type an address."""
        self.driver.get(path if "://" in path else self.origin + path)

    @property
    def path(self) -> str:
        """Where we are, without the query."""
        return urlsplit(self.driver.current_url).path

    @property
    def heading(self) -> str:
        """The page's own heading."""
        return self.driver.find_element(By.TAG_NAME, "h1").text

    @property
    def seen(self) -> str:
        """All text that can be seen."""
        return " ".join(self.driver.find_element(By.TAG_NAME, "body").text.split())

    @property
    def focused(self) -> str:
        """The id, or the text, of what the keyboard speaks to."""
        return str(self.run("return document.activeElement.id || document.activeElement.textContent.trim()"))

    def named(self, text: str) -> WebElement:
        """The link, button or fold that bears this text."""
        places = " | ".join(f"//{each}[normalize-space()={_quoted(text)}]" for each in ("button", "a", "summary"))
        return self.driver.find_element(By.XPATH, places)

    def value(self, field: str) -> str:
        """What stands in a field."""
        return str(self.run("return arguments[0].value", self.driver.find_element(By.ID, field)))

    def write(self, **typed: str) -> None:
        """Type into fields, in the place of what stands there."""
        for name, text in typed.items():
            field = self.driver.find_element(By.ID, name)
            field.clear()
            field.send_keys(text)

    def choose(self, field: str, value: str) -> None:
        """Choose one of a list."""
        self.driver.find_element(By.CSS_SELECTOR, f'#{field} [value="{value}"]').click()

    def press(self, text: str, sure: bool = False) -> None:
        """Press what bears this text, say yes if asked (`sure`), and wait for the page that follows."""
        self.leave(lambda: self._press(text, sure))

    def press_twice(self, text: str) -> None:
        """A double click, as many people do everywhere, and the page that follows."""
        self.leave(lambda: ActionChains(self.driver).double_click(self.named(text)).perform())

    def back(self) -> None:
        """The back button."""
        self.leave(self.driver.back)

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, wanted: str) -> None:
        """Press Tab until this has the focus; each stop on the way must be seen to have it."""
        for _ in range(60):
            self.keys(Keys.TAB)
            assert self.shows_focus(), f"nobody sees that {self.focused} has the focus"
            if self.focused == wanted:
                return
        raise AssertionError(f"the keyboard does not reach {wanted}")

    def shows_focus(self) -> bool:
        """Whether what has the focus is marked, and inside the window."""
        return bool(self.run(_SHOWS_FOCUS))

    def leave(self, action: Callable[[], Any]) -> None:
        """Do what leads to another page, and wait until it is there."""
        mark = next(self._numbers)
        self.run("window.left = arguments[0]", mark)
        action()
        self.until(lambda: self.run(_ARRIVED, mark))

    def until(self, what: Callable[[], Any]) -> Any:
        """Wait until something is so; what it then is."""
        wait = WebDriverWait(self.driver, TIMEOUT, 0.02, ignored_exceptions=[WebDriverException])
        return wait.until(lambda driver: what())

    def _press(self, text: str, sure: bool) -> None:
        self.named(text).click()
        if sure:
            self.driver.switch_to.alert.accept()

    def _close_question(self) -> None:
        try:
            self.driver.switch_to.alert.dismiss()
        except NoAlertPresentException:
            return


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


# What has `autofocus` gets the focus when the page is drawn, which may be later.
_ARRIVED = """
return window.left !== arguments[0] && document.readyState === "complete"
    && (document.activeElement !== document.body || !document.querySelector("[autofocus]"));
"""
_SHOWS_FOCUS = """
const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
const box = document.activeElement.getBoundingClientRect();
return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && box.top >= -1 && box.bottom <= innerHeight + 1;
"""
