"""The pictures of the page in the documents are those that `make pictures` makes."""

from tests.ui.pictures import DOCUMENTED, DOCUMENTS


def test_each_picture_is_made_by_the_program_and_shown_by_a_document() -> None:
    made = {f"{view}-{'dark' if dark else 'light'}.png" for view, dark in DOCUMENTED}
    assert {path.name for path in DOCUMENTS.glob("*.png")} == made
    root = DOCUMENTS.parent.parent
    shown = "".join(path.read_text() for path in (root / "README.md", root / "docs" / "ui.md"))
    assert [name for name in made if f"pictures/{name}" not in shown] == []
