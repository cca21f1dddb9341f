#!/usr/bin/env python3
"""Tests an archive in a bucket with versions and object lock, on moto, which is an independent S3.

  HOLDFAST_BINARY=target/debug/holdfast python3 tests/object_lock/test.py

moto checks every signature here. All data is in a temporary folder or in memory, and the ports are free ones.
At its end no process of it is left, whether it passed or failed.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
import venv
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUCKET, PLACE = "archive", "s3://archive/lake"
LOCK_DAYS = 180


def environment():
    """Returns the interpreter of an environment with moto, made on first use."""
    home = ROOT / "target" / "object-lock-venv"
    interpreter = home / "bin" / "python"
    wanted = hashlib.sha256((HERE / "requirements.txt").read_bytes()).hexdigest()
    stamp = home / "requirements.sha256"
    if not (stamp.exists() and stamp.read_text() == wanted):
        venv.create(home, with_pip=True, clear=True)
        command = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, "-r", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    return interpreter


def load_nodes():
    """Returns the class that starts nodes for the examples."""
    spec = importlib.util.spec_from_file_location("holdfast_examples", ROOT / "examples" / "test.py")
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    return examples


def say(text):
    print(f"==> {text}", flush=True)


class S3:
    """moto with a bucket that has object lock, and a user whose signatures it checks."""

    def __init__(self, examples, stack):
        import boto3

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-p", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(server.wait)
        stack.callback(server.kill)
        examples.until("moto answers", self.answers)
        anybody = {"aws_access_key_id": "setup", "aws_secret_access_key": "setup"}
        iam = boto3.client("iam", endpoint_url=self.endpoint, region_name="us-east-1", **anybody)
        iam.create_user(UserName="archive")
        statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="archive", PolicyName="all", PolicyDocument=policy)
        key = iam.create_access_key(UserName="archive")["AccessKey"]
        self.key = {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
        }
        self.client = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **self.key)
        self.client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        # From here on, every signature is checked.
        plain = {"Content-Type": "text/plain"}
        reset = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", data=b"0", headers=plain)
        urllib.request.urlopen(reset).read()
        self.environment = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    def answers(self):
        try:
            return urllib.request.urlopen(f"{self.endpoint}/moto-api/").status == 200
        except OSError:
            return False

    def files(self, folder):
        """Returns the keys below a folder of the archive."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"lake/{folder}/")
        return [file["Key"] for file in found.get("Contents", [])]

    def read(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def refuses(self, call, **arguments):
        """Returns the code with which S3 refuses a call."""
        from botocore.exceptions import ClientError

        try:
            getattr(self.client, call)(Bucket=BUCKET, **arguments)
        except ClientError as error:
            return error.response["Error"]["Code"]
        raise AssertionError(f"{call} was not refused")

    def status_of_put(self, key, headers, secret=None):
        """Sends a put that is signed with exactly these headers, and returns its status."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        url = f"{self.endpoint}/{BUCKET}/{key}"
        request = AWSRequest("PUT", url, data=b"x", headers=headers)
        credentials = Credentials(self.key["aws_access_key_id"], secret or self.key["aws_secret_access_key"])
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        sent = urllib.request.Request(url, data=b"x", headers=dict(request.headers), method="PUT")
        try:
            return urllib.request.urlopen(sent).status
        except urllib.error.HTTPError as error:
            return error.code


def run(binary, nodes, s3, *arguments):
    """Runs a command with the credentials of the bucket. Returns its exit code, its answer, and its errors."""
    endpoints = ["--endpoints", nodes.endpoints] if nodes else []
    command = [binary, "--json", *endpoints, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | s3.environment, capture_output=True, text=True, timeout=120)
    answer = json.loads(done.stdout) if done.stdout.strip() else None
    return done.returncode, answer, done.stderr


def answer_of(*arguments):
    code, answer, errors = run(*arguments)
    assert code == 0, f"{arguments[3:]}: {answer} {errors}"
    return answer


def check_locks(s3):
    entries = [json.loads(s3.read(key)) for key in s3.files("manifest")]
    assert entries, "nothing was exported"
    for entry, key in zip(entries, s3.files("manifest"), strict=True):
        locked_until = datetime.fromtimestamp(entry["last_log_time_ms"] // 1000, timezone.utc)
        locked_until += timedelta(days=LOCK_DAYS)
        for locked in (f"lake/{entry['file']}", key):
            head = s3.client.head_object(Bucket=BUCKET, Key=locked)
            assert head["ObjectLockMode"] == "COMPLIANCE", head
            # The lock counts from log time, to the second.
            assert head["ObjectLockRetainUntilDate"] == locked_until, (head, locked_until)
            version = head["VersionId"]
            for also in ({}, {"BypassGovernanceRetention": True}):
                refused = s3.refuses("delete_object", Key=locked, VersionId=version, **also)
                assert refused == "AccessDenied", refused
        assert entry["file_version"] == s3.client.head_object(Bucket=BUCKET, Key=f"lake/{entry['file']}")["VersionId"]
        assert hashlib.sha256(s3.read(f"lake/{entry['file']}")).hexdigest() == entry["sha256"]
    return entries


def check_requests(s3):
    """Shows that the S3 of this test refuses what it has to, so that it proves something."""
    until = (datetime.now(timezone.utc) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    lock = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": until}
    assert s3.status_of_put("no-checksum", lock) == 400, "a lock without a checksum was taken"
    checksum = {"x-amz-sdk-checksum-algorithm": "SHA256"}
    assert s3.status_of_put("wrong-signature", lock | checksum, secret="wrong") == 403


def check_hidden(binary, nodes, s3, entries):
    """Hides files as an administrator can, and checks that readers go on and that the proof names them."""
    deleted, replaced = f"lake/{entries[0]['file']}", f"lake/{entries[1]['file']}"
    s3.client.delete_object(Bucket=BUCKET, Key=deleted)
    s3.client.put_object(Bucket=BUCKET, Key=replaced, Body=b"other")
    code, proof, _ = run(binary, None, s3, "archive", "verify", "--archive", PLACE)
    faults = {fault["path"]: fault["what"] for fault in proof["faults"]}
    assert code == 1 and set(faults) == {deleted, replaced}, proof
    assert "a delete marker hides its version" in faults[deleted], faults
    assert "it was replaced" in faults[replaced], faults
    # The locked versions are there, and readers find them by their ids.
    report = answer_of(binary, nodes, s3, "verify", "--archive", PLACE)
    assert report["ok"], report
    for hidden in (deleted, replaced):
        marks = s3.client.list_object_versions(Bucket=BUCKET, Prefix=hidden)
        newest = [mark for mark in [*marks.get("DeleteMarkers", []), *marks["Versions"]] if mark["IsLatest"]]
        s3.client.delete_object(Bucket=BUCKET, Key=hidden, VersionId=newest[0]["VersionId"])
    assert answer_of(binary, None, s3, "archive", "verify", "--archive", PLACE)["ok"]


def main():
    binary = os.environ.get("HOLDFAST_BINARY")
    if not binary:
        sys.exit("HOLDFAST_BINARY must name the built binary, such as target/debug/holdfast")
    binary = str(Path(binary).resolve())
    if "HOLDFAST_IN_ENVIRONMENT" not in os.environ:
        command = [environment(), __file__]
        sys.exit(subprocess.run(command, env=os.environ | {"HOLDFAST_IN_ENVIRONMENT": "1"}).returncode)
    # A test run that is told to stop ends its processes, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    os.environ["no_proxy"] = "127.0.0.1"
    examples = load_nodes()
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-object-lock-")))
        say("starting moto and three nodes")
        s3 = S3(examples, cleanup)
        nodes = cleanup.enter_context(examples.Nodes(binary, folder))
        say("exporting with a lock")
        for number in range(40):
            nodes.ask("stock", "receive", f"SKU-{number % 9}", "--warehouse", "LDN-1", "--quantity", number + 1)
        export = ["changes", "export", "--to", PLACE, "--lock-days", LOCK_DAYS, "--rows-per-file", 3]
        answer_of(binary, nodes, s3, *export)
        entries = check_locks(s3)
        assert len(entries) > 2, entries
        again = answer_of(binary, nodes, s3, *export)
        assert again["files"] == 0, again
        say("proof and drill")
        proof = answer_of(binary, None, s3, "archive", "verify", "--archive", PLACE)
        assert proof["ok"] and proof["has_versions"] and proof["left_over"] == 0, proof
        drilled = answer_of(binary, nodes, s3, "archive", "drill", "--archive", PLACE)
        assert drilled["equal"] and sum(shard["cells"] for shard in drilled["shards"]) == 9, drilled
        say("requests that S3 refuses, and files that somebody hides")
        check_requests(s3)
        check_hidden(binary, nodes, s3, entries)
        say("a bucket without object lock refuses the export")
        s3.client.create_bucket(Bucket="plain")
        code, _, errors = run(binary, nodes, s3, *export[:3], "s3://plain/lake", *export[4:])
        assert code == 1 and "has no object lock: make one with versions and object lock" in errors, errors
    say("an archive in a bucket with object lock works")


if __name__ == "__main__":
    main()
