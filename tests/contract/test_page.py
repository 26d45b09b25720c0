"""The page needs no build step and nothing from elsewhere, and holds under a strict policy."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.contract.house import PACKAGE

PAGE = PACKAGE / "api" / "page"
PAGES = ("index.html", "watch.html", "admin.html")
SCRIPTS = sorted(path.name for path in PAGE.glob("*.js"))


class Document(HTMLParser):
    """What a page refers to, and what has no place under a strict Content-Security-Policy."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.unlabelled: list[str] = []
        self._within_label = 0
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [f"{tag} {name}" for name in given if name.startswith("on")]
        self.inline += [f"{tag} style" for name in given if name == "style"]
        self.references += [v for name in ("src", "href") if (v := given.get(name))]
        if (identity := given.get("id")) is not None:
            self.ids.append(identity)
        self._within_label += tag == "label"
        self._in_script = tag in ("script", "style")
        if tag in ("input", "select") and not self._within_label:
            self.unlabelled.append(str(given.get("id")))
        if tag == "video" and "aria-label" not in given:
            self.unlabelled.append("video")

    def handle_endtag(self, tag: str) -> None:
        self._within_label -= tag == "label"
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data.strip())


@pytest.fixture(params=PAGES)
def document(request: pytest.FixtureRequest) -> Document:
    return Document((PAGE / str(request.param)).read_text())


def test_everything_comes_from_the_server_itself(document: Document) -> None:
    assert document.references
    for reference in document.references:
        if reference == "#":
            continue
        assert reference.startswith("/static/"), reference
        assert (PAGE / reference.removeprefix("/static/")).is_file(), reference


def test_no_inline_script_or_style(document: Document) -> None:
    assert document.inline == []


def test_every_control_has_a_label(document: Document) -> None:
    assert document.unlabelled == []
    assert len(set(document.ids)) == len(document.ids)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_import_what_is_there(script: str) -> None:
    text = (PAGE / script).read_text()
    for target in re.findall(r'from "\./([^"]+)"', text):
        assert (PAGE / target).is_file(), target
    assert not re.search(r"""["'`]https?://(?!www\.w3\.org/)""", text)
    assert "eval(" not in text
    for markup in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
        assert markup not in text, "a stream's name is not markup"


@pytest.mark.parametrize(
    ("page", "script"), list(zip(PAGES, ("index.js", "watch.js", "admin.js"), strict=True))
)
def test_scripts_name_elements_that_exist(page: str, script: str) -> None:
    ids = set(Document((PAGE / page).read_text()).ids)
    wanted = set(re.findall(r'\bat\("([\w-]+)"\)', (PAGE / script).read_text()))
    assert wanted - ids == set()
