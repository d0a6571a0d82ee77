"""Tokens and sessions of a real memlaned: signing in, what ends a session, who can still get in.  Every answer is checked against
schema/openapi.yaml (memlaned.py)."""
import unittest

from rackcase import Rack


class Tokens(Rack):
    agents = False

    def token(self, role="viewer", **more):
        answer = self.admin.post("/v1/tokens", {"role": role, "name": role, **more})
        self.assertEqual(answer.status, 201, answer.json)
        return answer.json

    def sign_in(self, **how):
        """The cookie."""
        answer = self.admin.post("/v1/sessions", how, token=None)
        self.assertEqual(answer.status, 201, answer.json)
        return answer.headers["Set-Cookie"].split(";")[0]

    def alive(self, cookie):
        return self.admin.get("/v1/sessions", token=None, headers={"Cookie": cookie}).status == 200


class SignIn(Tokens):
    def test_a_session_is_no_token_to_sign_in_with(self):
        """Else it would be copied into one that its signing out does not end."""
        secret = self.sign_in(token=self.token()["token"]).split("=")[1]
        self.assertTrue(secret.startswith("mls_"))
        codes = [self.admin.post("/v1/sessions", {"token": secret}, token=None).status for _ in range(11)]
        self.assertEqual(codes, [401] * 10 + [429])  # each counts as a failed try


if __name__ == "__main__":
    unittest.main()
