"""A broker with TLS, an authorizer and every way to log in, and the one user on it who is not all-powerful."""

import os
import re
import subprocess

from confluent_kafka.admin import (
    AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion,
)  # fmt: skip

from . import topics
from .broker import Broker, free_port

USER, PASSWORD = "tidegate", "a password of the system suite"

SETTINGS = """
listeners=PLAINTEXT://127.0.0.1:@PORT@,SASL_SSL://127.0.0.1:{secure},SSL://127.0.0.1:{mutual},CONTROLLER://127.0.0.1:@CONTROLLER@
advertised.listeners=PLAINTEXT://127.0.0.1:@PORT@,SASL_SSL://127.0.0.1:{secure},SSL://127.0.0.1:{mutual}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN,OAUTHBEARER
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
# Tokens that nobody signed: what is tried is that ours are handed over, not who signs them.
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.ssl.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=([^,]*).*$/$1/
ssl.keystore.type=PEM
ssl.keystore.location={directory}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
# Who comes in clear text is the test itself.
super.users=User:ANONYMOUS
"""


class SecureBroker(Broker):
    """Speaks in clear text with the test, and encrypted with a user who has exactly the rights that were granted."""

    def up(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        secure, mutual = free_port(), free_port()
        certificates(self.directory)
        extra = self.directory / "extra.properties"
        extra.write_text(SETTINGS.format(secure=secure, mutual=mutual, directory=self.directory, user=USER, password=PASSWORD))
        self.extra = {"TIDEGATE_KAFKA_EXTRA": str(extra)}
        super().up()
        credential = UserScramCredentialUpsertion(USER, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), PASSWORD.encode())
        topics.admin(self.address).alter_user_scram_credentials([credential])[USER].result(20)
        authority = {"ssl.ca.location": str(self.directory / "ca.pem")}
        sasl = {"security.protocol": "SASL_SSL", **authority}
        known = {"sasl.username": USER, "sasl.password": PASSWORD}
        # How one may log in as that user, and what `kafka.properties` then says.
        self.ways = {
            "SCRAM": self._as(secure, {**sasl, "sasl.mechanism": "SCRAM-SHA-512", **known}),
            "PLAIN": self._as(secure, {**sasl, "sasl.mechanism": "PLAIN", **known}),
            "OAUTHBEARER": self._as(
                secure, {**sasl, "sasl.mechanism": "OAUTHBEARER", "enable.sasl.oauthbearer.unsecure.jwt": "true", "sasl.oauthbearer.config": f"principal={USER}"}
            ),
            "mTLS": self._as(
                mutual,
                {
                    "security.protocol": "SSL", **authority,
                    "ssl.certificate.location": str(self.directory / f"{USER}.crt"), "ssl.key.location": str(self.directory / f"{USER}.key"),
                },
            ),
        }  # fmt: skip
        self.kafka = self.ways["SCRAM"]
        return self.address

    @staticmethod
    def _as(port, properties):
        return {"bootstrap": f"127.0.0.1:{port}", "properties": properties}

    def grant(self, acls):
        for future in topics.admin(self.address).create_acls(acls).values():
            future.result(20)

    def take_back(self, acl):
        # The binding is its own filter.
        from confluent_kafka.admin import AclBindingFilter

        filter = AclBindingFilter(acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation, acl.permission_type)
        (future,) = topics.admin(self.address).delete_acls([filter]).values()
        assert len(future.result(20)) == 1, f"{acl} was not granted"


def certificates(directory):
    """An authority of this test alone, and certificates of it: for the server at 127.0.0.1, and for the user."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, check=True, env=dict(os.environ))

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tidegate test", "-keyout", "ca.key", "-out", "ca.pem")
    (directory / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for file, name in (("server", "localhost"), (USER, USER)):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{file}.key", "-out", f"{file}.csr")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san"]
        openssl("x509", "-req", "-in", f"{file}.csr", *signed, "-out", f"{file}.crt")
    (directory / "server.pem").write_bytes((directory / "server.key").read_bytes() + (directory / "server.crt").read_bytes())


def sections(printed):
    """What `topics --acls` prints, by what it is for: "" for running, else the commands that the comment before it names."""
    found, of = {"": []}, ""
    for line in printed.splitlines():
        if line.startswith("#"):
            of = re.fullmatch(r"# beside those, for (.*):", line).group(1)
            found[of] = []
        elif line:
            found[of].append(acl(line))
    return found


def acl(line):
    """What one printed `kafka-acls.sh` command grants, and the words that name it."""
    def option(name):
        found = re.search(rf"--{name} (\S+)", line)
        return found and found.group(1)

    kinds = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactional-id": ResourceType.TRANSACTIONAL_ID}
    (kind,) = [name for name in kinds if option(name)]
    pattern = ResourcePatternType.PREFIXED if option("resource-pattern-type") == "prefixed" else ResourcePatternType.LITERAL
    operation = re.sub(r"(?<!^)(?=[A-Z])", "_", option("operation")).upper()
    binding = AclBinding(kinds[kind], option(kind), pattern, option("allow-principal"), "*", AclOperation[operation], AclPermissionType.ALLOW)
    return binding, line[line.index("--operation") :]
