"""The module that writes and removes several small files in one task."""

import json
import stat

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.ntier.django.plugins.modules import text_files


@pytest.fixture
def write(tmp_path, capfd):
    def run(files, **more):
        with patch_module_args({"files": files, **more}), pytest.raises(SystemExit):
            text_files.main()
        return json.loads(capfd.readouterr().out)

    return run


def test_files_are_written_once(write, tmp_path):
    files = {str(tmp_path / "a/b/one"): "1\n", str(tmp_path / "two"): "ü\n"}
    found = write(files, _ansible_check_mode=True)
    assert (found["changed"], found["written"], list(tmp_path.iterdir())) == (True, list(files), [])
    assert write(files)["changed"] is True
    assert [(tmp_path / name).read_text() for name in ("a/b/one", "two")] == ["1\n", "ü\n"]
    assert stat.S_IMODE((tmp_path / "two").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert write(files) == {**write(files), "changed": False, "written": [], "removed": [], "diff": []}


def test_a_text_of_another_encoding_is_replaced_and_shown(write, tmp_path):
    file = tmp_path / "page.html"
    file.write_bytes(b"\xe9t\xe9\n")
    before, _fits = text_files.state(str(file))
    assert before.encode("utf-8", "surrogateescape") == b"\xe9t\xe9\n"
    # The answer of a module has to be UTF-8.
    found = write({str(file): "x\n"})
    assert found["diff"][0]["before"] == "\ufffdt\ufffd\n"
    json.dumps(found, ensure_ascii=False).encode()


def test_what_differs_is_written_again(write, tmp_path):
    file = tmp_path / "two"
    files = {str(file): "new\n", str(tmp_path / "other"): "x\n"}
    write(files)
    file.write_text("old\n")
    found = write(files)
    assert found["written"] == [str(file)]
    assert (found["diff"][0]["before"], found["diff"][0]["after"]) == ("old\n", "new\n")
    file.chmod(0o600)
    assert write(files)["written"] == [str(file)]
    file.unlink()
    file.symlink_to(tmp_path / "other")
    assert write(files)["written"] == [str(file)]
    assert not file.is_symlink()
    assert (tmp_path / "other").read_text() == "x\n"


def test_files_and_links_are_removed(write, tmp_path):
    file, link = tmp_path / "one", tmp_path / "link"
    file.write_text("x")
    link.symlink_to(tmp_path / "nowhere")
    gone = [str(file), str(link), str(tmp_path / "missing")]
    for check in (True, False):
        assert write({}, absent=gone, _ansible_check_mode=check)["removed"] == gone[:2]
    assert not list(tmp_path.iterdir())
    assert write({}, absent=gone)["changed"] is False


def test_a_path_or_text_of_another_kind_is_refused(write):
    assert write({"relative": "x"})["msg"] == "files: relative is not an absolute path."
    assert "It has to be a string" in write({"/run/x": {"a": 1}})["msg"]
