"""What cert-manager does: a CA, and the secrets of the chart's Certificates as files. By openssl(1)."""

import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
USAGES = {"server auth": "serverAuth", "client auth": "clientAuth"}


class Authority:
    def __init__(self, folder, name):
        self.certificate, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        usage = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        openssl("req", "-x509", *NEW_KEY, "-days", 2, "-keyout", self.key, "-out", self.certificate, "-subj", f"/CN={name}", *usage)

    def issue(self, spec, folder):
        """The files of the secret that a Certificate asks for."""
        folder.mkdir(parents=True)
        names = [f"URI:{uri}" for uri in spec["uris"]] + [f"DNS:{name}" for name in spec.get("dnsNames", [])]
        usages = [USAGES[each] for each in spec["usages"] if each in USAGES]
        extensions = folder / "extensions"
        extensions.write_text(
            f"subjectAltName=critical,{','.join(names)}\nextendedKeyUsage={','.join(usages)}\n"
            "keyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n"
        )
        request = folder / "request"
        openssl("req", *NEW_KEY, "-keyout", folder / "tls.key", "-out", request, "-subj", "/")
        signed_by = ["-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", 1, "-extfile", extensions]
        openssl("x509", "-req", "-in", request, *signed_by, "-out", folder / "tls.crt")
        (folder / "ca.crt").write_text(self.certificate.read_text())


def issue_all(rendered, folder):
    """The secrets of all Certificates of a rendering, each a folder of its name."""
    issuers = {each["spec"]["issuerRef"]["name"] for each in rendered.all("Certificate")}
    authorities = {name: Authority(folder, name) for name in issuers}
    for each in rendered.all("Certificate"):
        spec = each["spec"]
        authorities[spec["issuerRef"]["name"]].issue(spec, folder / spec["secretName"])


def mount(secrets, volume, folder):
    """A projected volume's files; a secret that is optional may be missing."""
    for source in volume["projected"]["sources"]:
        secret = secrets / source["secret"]["name"]
        if source["secret"].get("optional") and not secret.exists():
            continue
        for item in source["secret"]["items"]:
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text((secret / item["key"]).read_text())
