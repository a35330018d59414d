"""Which cluster, and who we are there: from kubeconfig files as people have them, or from a pod."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cerebrum.executors.kubernetes import access as module
from cerebrum.executors.kubernetes.access import Access, load_access
from cerebrum.model.errors import ConfigError, InputError, UnknownName


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the machine's own clusters."""
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", tmp_path / "no-pod")
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("pems")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def config(
    user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "dev",
        "clusters": [{"name": "one", "cluster": {"server": "https://h:6443"} | (cluster or {})}],
        "users": [{"name": "me", "user": {"token": "t0ken"} if user is None else user}],
        "contexts": [{"name": "dev", "context": {"cluster": "one", "user": "me"}}],
    } | more  # fmt: skip


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.dump(content))
    return path


def token(access: Access, rejected: str | None = None) -> str | None:
    return asyncio.run(access.credentials.token(rejected))


def test_the_usual_file(tmp_path: Path) -> None:
    access = load_access(write(tmp_path / "k", config()))
    assert (access.server, access.namespace) == ("https://h:6443", "default")
    assert token(access) == "t0ken"
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_REQUIRED
    assert "t0ken" not in repr(access)


def test_context_namespace_and_server_name(tmp_path: Path) -> None:
    content = config(cluster={"tls-server-name": "kube"})
    inner = {"cluster": "one", "user": "me", "namespace": "lab"}
    content["contexts"].append({"name": "lab", "context": inner})
    access = load_access(write(tmp_path / "k", content), "lab")
    assert (access.namespace, access.server_name) == ("lab", "kube")
    assert access.origin.endswith("context lab")


def test_of_several_files_the_first_that_names_something_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = write(tmp_path / "a", config(user={"token": "first"}))
    other = config(user={"token": "second"}, **{"current-context": "other"})
    other["contexts"].append({"name": "other", "context": {"cluster": "one", "user": "me"}})
    b = write(tmp_path / "b", other)
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "missing"), str(a), str(b)]))
    assert token(load_access()) == "first"
    assert load_access(context="other").origin.endswith("b, context other")
    assert token(load_access(b)) == "second"


@pytest.mark.needs(command="openssl")
def test_the_home_folder_is_next_and_a_pod_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pems: Path
) -> None:
    pod = tmp_path / "pod"
    pod.mkdir()
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", pod)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    with pytest.raises(ConfigError, match="no cluster to talk to"):
        load_access()
    (pod / "token").write_text("pod-token\n")
    (pod / "namespace").write_text("brains")
    (pod / "ca.crt").write_text((pems / "cert.pem").read_text())
    access = load_access()
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "brains")
    assert token(access) == "pod-token"
    (tmp_path / "nobody/.kube").mkdir(parents=True)
    write(tmp_path / "nobody/.kube/config", config())
    assert load_access().server == "https://h:6443"


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    access = load_access(write(tmp_path / "k", config(user={"tokenFile": "token"})))

    async def story() -> None:
        (tmp_path / "token").write_text("one\n")
        assert await access.credentials.token() == "one"
        # As the kubelet does it: a new file takes the place of the old.
        (tmp_path / "new").write_text("two\n")
        (tmp_path / "new").replace(tmp_path / "token")
        assert await access.credentials.token() == "two"
        (tmp_path / "token").unlink()
        assert await access.credentials.token() == "two"

    asyncio.run(story())


PLUGIN = """#!{python}
import json, os, pathlib, sys
count = pathlib.Path({count!r})
n = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(n))
asks = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert asks["spec"]["interactive"] is False and os.environ["FLAVOUR"] == "mild", asks
status = {{"token": f"t{{n}}-" + sys.argv[1], "expirationTimestamp": os.environ.get("UNTIL")}}
print(json.dumps({{"kind": "ExecCredential", "apiVersion": asks["apiVersion"], "status": status}}))
"""


def plugin(folder: Path, text: str = PLUGIN, **more: Any) -> dict[str, Any]:
    program = folder / "plugin"
    program.write_text(text.format(python=sys.executable, count=str(folder / "count")))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "args": ["x"],
        "env": [{"name": "FLAVOUR", "value": "mild"}], "interactiveMode": "IfAvailable",
    } | more}  # fmt: skip


def test_an_exec_plugin_is_run_once_until_its_token_expires_or_is_refused(tmp_path: Path) -> None:
    access = load_access(write(tmp_path / "k", config(user=plugin(tmp_path))))
    now = [1_000_000.0]
    credentials: Any = access.credentials
    credentials.unix_s = lambda: now[0]

    async def story() -> None:
        both = await asyncio.gather(credentials.token(), credentials.token())
        assert both == ["t1-x", "t1-x"]
        assert await credentials.token(rejected="older") == "t1-x"
        credentials.env["UNTIL"] = "1970-01-12T13:48:00Z"  # 1,000,080
        assert await credentials.token(rejected="t1-x") == "t2-x"
        now[0] += 60
        assert await credentials.token() == "t2-x"
        now[0] += 15
        assert await credentials.token() == "t3-x"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!{python}\nraise SystemExit(3)", "exit code 3"),
        ("#!{python}\nprint('secret, not JSON')", "did not print an ExecCredential"),
        ('#!{python}\nprint(\'{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io'
         '/v1","status":{{}}}}\')', "neither a token nor a certificate"),
    ],
)  # fmt: skip
def test_a_broken_plugin_says_what_is_wrong_and_no_secret(
    tmp_path: Path, text: str, message: str
) -> None:
    access = load_access(write(tmp_path / "k", config(user=plugin(tmp_path, text))))
    with pytest.raises(ConfigError, match=message) as caught:
        token(access)
    assert "secret" not in str(caught.value)


def test_a_plugin_that_is_not_installed_gives_its_own_hint(tmp_path: Path) -> None:
    user = plugin(tmp_path, command="no-such-plugin", installHint="Get it from the shop.")
    with pytest.raises(ConfigError, match=r"cannot be started.*Get it from the shop"):
        token(load_access(write(tmp_path / "k", config(user=user))))


@pytest.mark.needs(command="openssl")
def test_certificates_by_path_and_by_content(tmp_path: Path, pems: Path) -> None:
    def content(name: str) -> str:
        return base64.b64encode((pems / name).read_bytes()).decode()

    for given in (
        {"client-certificate": str(pems / "cert.pem"), "client-key": str(pems / "key.pem")},
        {"client-certificate-data": content("cert.pem"), "client-key-data": content("key.pem")},
    ):
        cluster = {"certificate-authority-data": content("cert.pem")}
        access = load_access(write(tmp_path / "k", config(user=given, cluster=cluster)))
        assert access.tls is not None
        assert len(access.tls.get_ca_certs()) == 1
        assert token(access) is None


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"user": {"username": "u", "password": "p4ss"}}, "users[me].user.username", "no longer take"),
    ({"user": {"auth-provider": {}}}, "users[me].user.auth-provider", "exec"),
    ({"user": {"as": "root"}}, "users[me].user.as", "not supported"),
    ({"user": {"tokn": "p4ss"}}, "users[me].user.tokn", "did you mean 'token'"),
    ({"user": {"token": "p4ss\nInjected: 1"}}, "users[me].user.token", "on one line"),
    ({"user": {"token": 17}}, "users[me].user.token", "string"),
    ({"user": {"client-certificate-data": "p4ss!"}}, "client-certificate-data", "base64"),
    ({"user": {"client-certificate-data": "cDRzcw=="}}, "client-key", "come together"),
    ({"user": {"client-certificate-data": "cDRzcw==", "client-key-data": "cDRzcw=="}},
     "client-certificate", "its own key"),
    ({"user": {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}},
     "users[me].user.exec.apiVersion", "client.authentication.k8s.io/v1"),
    ({"user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}},
     "users[me].user.exec.command", "is missing"),
    ({"user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x",
                        "interactiveMode": "Always"}}}, "exec.interactiveMode", "terminal"),
    ({"cluster": {"server": "h:6443"}}, "clusters[one].cluster.server", "http(s)://host"),
    ({"cluster": {"server": "https://u:p4ss@h"}}, "clusters[one].cluster.server", "http(s)://host"),
    ({"cluster": {"server": "https://h:99999"}}, "clusters[one].cluster.server", "http(s)://host"),
    ({"cluster": {"server": "http://h"}}, "clusters[one].cluster.server", "expected https"),
    ({"cluster": {"certificate-authority": "gone.pem"}}, "certificate-authority", "cannot be read"),
    ({"cluster": {"certificate-authority-data": "cDRzcw=="}}, "certificate-authority", "in PEM"),
    ({"cluster": {"proxy-url": "socks5://h"}}, "proxy-url", "http(s)://host"),
    ({"current-context": "dve"}, "current-context", "did you mean 'dev'"),
    ({"current-context": ""}, "current-context", "there are: dev"),
    ({"current-context": ["dev"]}, "current-context", "expected a name"),
    ({"kind": "Pod"}, "kind", "expected Config"),
    ({"users": [{"name": "you", "user": {}}]}, "contexts[dev].context.user", "unknown user 'me'"),
    ({"clusters": [{"cluster": {}}]}, "clusters[0]", "with a name"),
    ({"contexts": {}}, "contexts", "expected a list"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "message"), BAD)
def test_a_mistake_is_named_with_file_and_field(
    tmp_path: Path, change: dict[str, Any], field: str, message: str
) -> None:
    path = write(tmp_path / "bad.yaml", config(**change))
    with pytest.raises(InputError) as caught:
        load_access(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: "), text
    assert field in text, text
    assert message in text, text
    assert "p4ss" not in text


def test_an_entry_that_is_not_used_may_be_broken(tmp_path: Path) -> None:
    content = config()
    content["users"].append({"name": "old", "user": {"nonsense": 1}})
    assert token(load_access(write(tmp_path / "k", content))) == "t0ken"


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", ":2: not valid YAML"), ("- 1", "expected a kubeconfig"),
     ("a: '\0'", "not valid YAML"),
     ("token: p4ss: x", ":1: not valid YAML"), ("!!python/object:os.system {}", "not valid YAML")],
)  # fmt: skip
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_access(tmp_path / "k")
    assert message in str(caught.value)
    assert "p4ss" not in str(caught.value)


def test_a_file_or_context_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_access(tmp_path / "gone")
    with pytest.raises(UnknownName, match="did you mean 'dev'"):
        load_access(write(tmp_path / "k", config()), "dev1")
    with pytest.raises(ConfigError, match="no context 'dev'"):
        load_access(context="dev")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"\$KUBECONFIG"):
        load_access()


@pytest.mark.needs(command="openssl")
def test_an_unchecked_server_is_only_for_who_says_so(tmp_path: Path, pems: Path) -> None:
    unchecked: dict[str, Any] = {"insecure-skip-tls-verify": True}
    access = load_access(write(tmp_path / "k", config(cluster=unchecked)))
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_NONE
    both = unchecked | {"certificate-authority": str(pems / "cert.pem")}
    with pytest.raises(ConfigError, match="contradicts"):
        load_access(write(tmp_path / "k", config(cluster=both)))


def test_a_json_kubeconfig_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(json.dumps(config()))
    assert load_access(tmp_path / "k").server == "https://h:6443"
