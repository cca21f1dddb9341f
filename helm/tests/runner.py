"""The runner of the sinks as the chart configures it, and a Redis to deliver to."""

import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

from nodes import eventually, free_ports


class Redis:
    """A redis-server of this machine."""

    def __init__(self, folder):
        self.folder, (self.port,) = folder, free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}"

    def __enter__(self):
        program = shutil.which("redis-server")
        assert program, "redis-server is missing: install Debian's package redis-server"
        self.folder.mkdir(parents=True)
        options = ["--port", str(self.port), "--dir", str(self.folder), "--save", "", "--bind", "127.0.0.1"]
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        return self

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)

    def __exit__(self, *_):
        self.stop()


class Runner:
    """A runner with the rendered configuration, or with a text; only addresses and the places of files are of this machine."""

    def __init__(self, holdfast, folder, rendered, endpoints, certificate=None, redis=None, text=None, options=()):
        self.holdfast, self.folder, self.rendered = holdfast, folder, rendered
        self.endpoints, self.certificate, self.redis, self.text = endpoints, certificate or {}, redis, text
        self.options = options
        (self.port,) = free_ports(1)

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        text = self.text or self.rendered.sinks_toml
        text = re.sub(r'(?m)^listen = ".*"$', f'listen = "127.0.0.1:{self.port}"', text)
        secrets = self.folder / "secrets"
        text = text.replace("/etc/holdfast/secrets", str(secrets))
        if self.redis:
            text = re.sub(r'(?m)^url = ".*"$', f'url = "{self.redis}"', text)
        config = self.folder / "sinks.toml"
        config.write_text(text)
        arguments, environment = ["sinks", "run"], {}
        if self.rendered:
            (container,) = self.rendered.sinks_pod["containers"]
            arguments = container["args"]
            environment = {each["name"]: each.get("value", "a-secret") for each in container["env"] if not each["name"].startswith("HOLDFAST_TLS_")}
            for name in self.rendered.values["sinks"]["secretFiles"]:
                (secrets / name).mkdir(parents=True)
                (secrets / name / "password").write_text("a-secret\n")
        environment |= {"HOLDFAST_SINKS_CONFIG": str(config), "HOLDFAST_ENDPOINTS": self.endpoints} | self.certificate
        self.errors = self.folder / "errors"
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen([self.holdfast, *arguments, *self.options], env=environment, stderr=errors)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def is_eventually(self, what, condition):
        def holds():
            assert self.process.poll() is None, self.errors.read_text()
            return condition()

        eventually(f"the runner is {what}", holds)

    def says(self, text):
        self.is_eventually(f"saying {text!r}", lambda: text in self.errors.read_text())

    def get(self, path):
        """The status and the text of one of its pages; no status while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError as error:
            return None, str(error)

    def stop(self, seconds=60):
        """As Kubernetes does: its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)
