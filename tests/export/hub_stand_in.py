"""A stand-in for the Hugging Face hub on this machine: as much of its HTTP interface as its client needs to create,
fill, describe and read a repository. HF_ENDPOINT leads the client to it."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

LICENSES = (None, "apache-2.0", "mit", "other")
COMMIT = "a" * 40
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Hub(ThreadingHTTPServer):
    """The repositories by name, each with `files` by path and `private`; data sets by name with their card.

    `seen` has method, path and token of every request, `writers` the tokens that may write.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories, self.datasets, self.seen, self.writers = {}, {}, [], set()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name, files, private=False):
        self.repositories[name] = {"files": files, "private": private}


@contextmanager
def running_hub():
    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.note()
        path = self.path.partition("?")[0].strip("/")
        for pattern, answer in (
            (r"api/models/(.+?)/tree/main/?(.*)", self.tree),
            (r"api/models/(.+?)(?:/revision/main)?", self.model),
            (r"api/datasets/(.+)", self.dataset),
            (r"(.+?)/resolve/(?:main|a{40})/(.+)", self.file),
        ):
            found = re.fullmatch(pattern, path)
            if found:
                return answer(*found.groups())
        return self.reply(404, {"error": "no such page"})

    def do_POST(self):
        self.note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0].strip("/")
        if path == "api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        if self.token not in self.server.writers:
            return self.reply(403, {"error": "You don't have the rights to write here"})
        if path == "api/repos/create":
            return self.create(json.loads(body))
        name, action = re.fullmatch(r"api/models/(.+)/(preupload|commit)/main", path).groups()
        return getattr(self, action)(name, body)

    @property
    def token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def note(self):
        self.server.seen.append((self.command, self.path, self.token))

    def validate(self, content):
        """Refuse a base model that is no id, and a license that nobody knows, as the hub does."""
        head = yaml.safe_load(content.split("---\n")[1])
        known = {
            "base_model": HUB_ID.fullmatch(head.get("base_model", "x")),
            "license": head.get("license") in LICENSES,
        }
        errors = [{"message": f"{key} is not allowed"} for key, right in known.items() if not right]
        return self.reply(400 if errors else 200, {"errors": errors, "warnings": []})

    def create(self, asked):
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        there = name in self.server.repositories
        if not there:
            self.server.add(name, {}, asked.get("private") or asked.get("visibility") == "private")
        error = {"error": "You already created this model repo"} if there else {}
        return self.reply(409 if there else 200, {"url": f"{self.server.address}/{name}", "name": name, **error})

    def preupload(self, name, body):
        files = [
            {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in json.loads(body)["files"]
        ]
        return self.reply(200, {"files": files})

    def commit(self, name, body):
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                value = line["value"]
                self.server.repositories[name]["files"][value["path"]] = base64.b64decode(value["content"])
        return self.reply(200, {"commitUrl": f"{self.server.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def model(self, name):
        if name not in self.server.repositories:
            return self.missing("RepoNotFound")
        one = self.server.repositories[name]
        card = one["files"].get("README.md", b"").decode()
        head = yaml.safe_load(card.split("---\n")[1]) if card.startswith("---") else {}
        siblings = [{"rfilename": path} for path in one["files"]]
        about = {"id": name, "sha": COMMIT, "private": one["private"], "tags": [], "cardData": head}
        return self.reply(200, {**about, "siblings": siblings})

    def tree(self, name, folder):
        files = self.server.repositories[name]["files"].items()
        found = [(path, data) for path, data in files if path.startswith(folder)]
        if not found:
            return self.missing("EntryNotFound")
        listed = [{"type": "file", "path": path, "oid": oid(data), "size": len(data)} for path, data in found]
        return self.reply(200, listed)

    def dataset(self, name):
        if name not in self.server.datasets:
            return self.missing("RepoNotFound")
        return self.reply(200, {"id": name, "sha": COMMIT, "tags": [], "cardData": self.server.datasets[name]})

    def file(self, name, path):
        files = self.server.repositories.get(name, {}).get("files")
        if files is None or path not in files:
            return self.missing("RepoNotFound" if files is None else "EntryNotFound")
        return self.send(200, files[path], {"ETag": f'"{oid(files[path])}"', "X-Repo-Commit": COMMIT})

    def missing(self, what):
        return self.reply(404, {"error": what}, {"X-Error-Code": what})

    def reply(self, status, value, headers=None):
        message = {"X-Error-Message": value["error"]} if "error" in value else {}
        about = {"Content-Type": "application/json", **message, **(headers or {})}
        return self.send(status, json.dumps(value).encode(), about)

    def send(self, status, data, headers):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def oid(data):
    return hashlib.sha1(data).hexdigest()
