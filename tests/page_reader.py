"""A page taken apart as a browser would: tags, images, links, the text of each section."""

import base64
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """tags: `(name, attributes)` in order. texts: visible text by section anchor. data: `<data>` values by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {"": ""}
        self.data: dict[str, float] = {}
        self.open: list[str] = []
        self.section = ""
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = attributes["id"]
            self.texts[self.section] = ""
        if tag == "data":
            self.data[attributes["id"]] = float(attributes["value"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts[self.section] += " ".join(data.split()) + " " if data.strip() else ""

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every `tag`."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self) -> list[str]:
        return [anchor for anchor in self.texts if anchor]

    @property
    def images(self) -> list[tuple[str, bytes]]:
        """Kind and content of every image."""
        found = []
        for attributes in self.of("img"):
            head, _, content = attributes["src"].partition(";base64,")
            assert head in ("data:image/png", "data:image/svg+xml"), head
            found.append((head.removeprefix("data:image/"), base64.b64decode(content, validate=True)))
        return found
