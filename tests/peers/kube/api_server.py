"""An API server without a node: objects are validated and stored, and nothing acts on them."""

import json
import os
import secrets
import ssl
import subprocess
import urllib.request

import yaml

from energy_agent.owners.kubernetes.api_client import Api
from tests.certificates import Authority
from tests.support import eventually, free_port, need_peer, need_program


class ApiServer:
    """etcd and kube-apiserver on loopback, with everything allowed to one token."""

    def __init__(self, folder):
        self.folder, self.token, self.processes = folder, secrets.token_hex(16), []
        authority = Authority(folder / "certificates")
        certificate, key = authority.issue("api", "IP:127.0.0.1")
        accounts = folder / "accounts.key"
        subprocess.run([need_program("openssl"), "genrsa", "-out", str(accounts), "2048"], check=True, capture_output=True)
        etcd, peer, self.port = free_port(), free_port(), free_port()
        (folder / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")
        self.start(
            need_program("etcd"), f"--data-dir={folder}/etcd", f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}", f"--initial-cluster=default=http://127.0.0.1:{peer}",
        )  # fmt: skip
        self.start(
            need_peer("kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self.port}", f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}", f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=AlwaysAllow",
            "--service-account-issuer=https://test", f"--service-account-key-file={accounts}",
            f"--service-account-signing-key-file={accounts}", "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.0.0.0/24", f"--cert-dir={folder}/made",
        )  # fmt: skip
        account = folder / "account"
        account.mkdir()
        (account / "token").write_text(self.token)
        (account / "ca.crt").write_bytes(authority.ca.read_bytes())
        self.context = ssl.create_default_context(cafile=str(authority.ca))
        self.api = Api(f"https://127.0.0.1:{self.port}", account)

    def wait(self):
        eventually(self.is_ready, 90, every=0.5)

    def start(self, program, *arguments):
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            self.processes.append(subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def is_ready(self):
        try:
            return self.request("GET", "/readyz") is not None
        except OSError:
            return False

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.api.address}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10, context=self.context) as answer:
            return answer.read()

    def create(self, path, body):
        return json.loads(self.request("POST", path, body))

    def serves(self, path):
        try:
            return self.request("GET", path) is not None
        except OSError:
            return False

    def run(self, *words, stdin="", fails=False):
        """Output of a command that finds the server by its kubeconfig, such as kubectl and helm."""
        kubeconfig = self.folder / "kubeconfig"
        if not kubeconfig.exists():
            entry = {"server": self.api.address, "certificate-authority": str(self.folder / "account/ca.crt")}
            kubeconfig.write_text(yaml.safe_dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": entry}],
                "users": [{"name": "test", "user": {"token": self.token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            }))  # fmt: skip
        environ = {"KUBECONFIG": str(kubeconfig), "HOME": str(self.folder), "PATH": os.environ["PATH"]}
        done = subprocess.run(list(map(str, words)), input=stdin, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    def kubectl(self, *words, stdin="", fails=False):
        return self.run(need_peer("kubectl"), *words, stdin=stdin, fails=fails)

    def stop(self):
        for process in reversed(self.processes):  # the API server would drain for a minute
            process.kill()
            process.wait(30)
