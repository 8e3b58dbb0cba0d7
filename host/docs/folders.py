"""The README links to folders of the repository. The site has documents alone, so there they are plain text."""

import re

FOLDER = re.compile(r"\[([^\]]+)\]\([\w-]+(?:/[\w-]+)*/?\)")


def on_page_markdown(markdown, page, **_):
    if page.file.src_uri != "README.md":
        return markdown
    return FOLDER.sub(r"\1", markdown)
