"""A Redfish service of sushy-tools over a copy of a mockup, with a certificate of its own."""

import json
import shutil
import subprocess
import sys

from tests.support import free_port, need_module, need_program


class RedfishService:
    """`sushy-static`, killed and started at the same port; `section` is what a meter is configured with."""

    def __init__(self, folder, mockup):
        need_module("sushy_tools")
        self.folder, self.port = folder, free_port()
        self.section = {"url": f"https://localhost:{self.port}", "auth": "none", "ca_file": folder / "cert.pem"}
        shutil.copytree(mockup, folder / "mockup")
        command = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        where = ["-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
        subprocess.run([need_program("openssl"), *command, *where], check=True, capture_output=True)
        self.start()

    def start(self):
        code = "from sushy_tools.static.main import main; main()"
        address = ["-i", "127.0.0.1", "-p", str(self.port), "-m", str(self.folder / "mockup")]
        secure = ["-c", str(self.folder / "cert.pem"), "-k", str(self.folder / "key.pem")]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([sys.executable, "-c", code, *address, *secure], **streams)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def write(self, path, change):
        """Change a resource, in one step."""
        at = self.folder / "mockup" / path / "index.json"
        body = json.loads(at.read_text())
        change(body)
        new = at.with_name("new")
        new.write_text(json.dumps(body))
        new.rename(at)
