"""Tokens and sessions of a real memlaned: signing in, what ends a session, who can still get in.  Every answer is checked against
schema/openapi.yaml (memlaned.py)."""
import concurrent.futures
import contextlib
import sqlite3
import time
import unittest

from rackcase import Rack

SESSIONS_MAX = 32  # of one token, see openapi.yaml


def milliseconds():
    return time.time_ns() // 1000000


class Tokens(Rack):
    agents = False

    def token(self, role="viewer", **more):
        answer = self.admin.post("/v1/tokens", {"role": role, "name": role, **more})
        self.assertEqual(answer.status, 201, answer.json)
        return answer.json

    def sign_in(self, **how):
        """The cookie.  Whoever comes next is younger: of the same millisecond, nobody is the oldest."""
        answer = self.admin.post("/v1/sessions", how, token=None)
        self.assertEqual(answer.status, 201, answer.json)
        self.wait_for(lambda now=milliseconds(): milliseconds() > now, 20)
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


class Sessions(Tokens):
    def rows(self):
        """The sessions that are written down."""
        with contextlib.closing(sqlite3.connect(f"file:{self.server.dir}/rack.db?mode=ro", uri=True, timeout=10)) as db:
            return [row[0] for row in db.execute("SELECT id FROM tokens WHERE id LIKE 'ses-%'")]

    def test_a_token_has_so_many_sessions_and_the_oldest_ends(self):
        mine, other = self.token(), self.token()
        kept = self.sign_in(token=other["token"])
        cookies = [self.sign_in(token=mine["token"]) for _ in range(SESSIONS_MAX + 3)]
        self.assertEqual([self.alive(c) for c in cookies], [False] * 3 + [True] * SESSIONS_MAX)
        self.assertTrue(self.alive(kept))
        self.assertEqual(sum(id.endswith(mine["id"]) for id in self.rows()), SESSIONS_MAX)

    def test_a_session_counts_with_the_token_of_its_code(self):
        mine = self.token("admin")
        first = self.sign_in(token=mine["token"])
        code = lambda: self.admin.post("/v1/sessions/codes", token=mine["token"]).json["code"]
        later = [self.sign_in(code=code()) for _ in range(SESSIONS_MAX)]
        self.assertFalse(self.alive(first))
        self.assertTrue(all(map(self.alive, later)))

    def test_what_has_expired_is_cleared_away(self):
        short = self.token(expires_in_s=4)
        cookie = self.sign_in(token=short["token"])
        self.wait_for(lambda: not self.alive(cookie), 20)
        self.assertTrue([id for id in self.rows() if id.endswith(short["id"])])
        self.sign_in(token=self.token()["token"])
        self.assertFalse([id for id in self.rows() if id.endswith(short["id"])])

    def test_many_sessions_hide_no_token(self):
        made = {self.token()["id"] for _ in range(3)}
        for _ in range(2):
            viewer = self.token()
            made.add(viewer["id"])
            for _ in range(SESSIONS_MAX):
                self.sign_in(token=viewer["token"])
        listed = self.admin.get("/v1/tokens?limit=1000").json["items"]
        self.assertLessEqual(made, {t["id"] for t in listed})
        self.assertFalse([t for t in listed if t["id"].startswith("ses-")])


class Pages(Tokens):
    def test_a_page_goes_on_behind_a_token_that_was_revoked(self):
        made = {self.token()["id"] for _ in range(7)}
        made = [t["id"] for t in self.admin.get("/v1/tokens?limit=1000").json["items"] if t["id"] in made]
        seen, path, pages = [], "/v1/tokens?limit=2", 0
        while path:
            page = self.admin.get(path).json
            seen += [t["id"] for t in page["items"]]
            cursor, pages = page["next_cursor"], pages + 1
            if cursor and seen[-1] in made:  # the one that the cursor names
                self.assertEqual(self.admin.delete(f"/v1/tokens/{seen[-1]}").status, 204)
            path = cursor and f"/v1/tokens?limit=2&cursor={cursor}"
        self.assertEqual([id for id in seen if id in made], made)
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(pages, (len(seen) + 1) // 2)
        for bad in ("token.", "token.7", "token.x.tok-1", "token.-1.tok-1", "token.99999999999999999999.tok-1"):
            self.refused(self.admin.get(f"/v1/tokens?cursor={bad}"), 422, "field_invalid")


class Races(Tokens):
    def test_no_session_outlives_its_token(self):
        """Signing in and revoking at once: whichever comes first, nobody is signed in afterwards."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for _ in range(20):
                token = self.token()
                ways = [self.server.client(None) for _ in range(3)]
                tries = [pool.submit(c.post, "/v1/sessions", {"token": token["token"]}) for c in ways]
                self.assertEqual(self.admin.delete(f"/v1/tokens/{token['id']}").status, 204)
                for answer in (t.result() for t in tries):
                    self.assertIn(answer.status, (201, 401, 429))
                    if answer.status == 201:
                        self.assertFalse(self.alive(answer.headers["Set-Cookie"].split(";")[0]))


class LastAdmin(Tokens):
    """A rack that no admin can sign in to could not be given one."""

    def tokens(self):
        return {t["id"]: t for t in self.admin.get("/v1/tokens?limit=1000").json["items"]}

    def first(self):
        return next(t["id"] for t in self.tokens().values() if t["name"] == "admin" and t["expires_at"] is None)

    def expire(self, where):
        """While the server is down."""
        with contextlib.closing(sqlite3.connect(self.server.dir / "rack.db", timeout=10)) as db, db:
            db.execute(f"UPDATE tokens SET expires_ms = 1 WHERE {where}")

    def restarted(self, where, prepare=lambda: None):
        """What is logged by a start after these tokens have expired."""
        self.server.stop()
        self.expire(where)
        prepare()
        begin = (self.server.dir / "log").stat().st_size
        self.server.start()
        self.admin.close()
        self.admin.token = self.server.admin_token if self.file().exists() else None
        return (self.server.dir / "log").read_text()[begin:]

    def file(self):
        return self.server.dir / "admin.token"

    def revoke(self, id):
        return self.admin.delete(f"/v1/tokens/{id}")

    def test_the_last_admin_token_cannot_be_revoked(self):
        first = self.first()
        self.token("operator")
        self.sign_in(token=self.server.admin_token)  # a session is none
        short = self.token("admin", expires_in_s=3600)["id"]
        self.assertIn("without expiry", self.refused(self.revoke(first), 409, "conflict")["detail"])
        self.assertEqual(self.revoke(short).status, 204)
        self.assertIn("last admin token", self.refused(self.revoke(first), 409, "conflict")["detail"])
        self.assertEqual(self.admin.get("/v1/tokens").status, 200)
        other = self.token("admin")
        self.assertEqual(self.revoke(first).status, 204)
        self.refused(self.admin.get("/v1/tokens"), 401, "unauthenticated")
        self.admin.token = other["token"]
        self.refused(self.revoke(other["id"]), 409, "conflict")
        again = self.token("admin", expires_in_s=1)
        self.wait_for(lambda: self.admin.get("/v1/sessions", token=again["token"]).status == 401)
        self.refused(self.revoke(other["id"]), 409, "conflict")  # one that has expired is none
        self.assertEqual(self.revoke(again["id"]).status, 204)
        self.restarted("role = 'admin'")  # for the other tests: the file's token

    def test_a_start_without_a_living_admin_makes_one(self):
        viewer = self.token()["token"]
        old = self.server.admin_token
        log = self.restarted("role = 'admin'", self.file().unlink)
        self.assertIn("auth.admin_token", log)
        self.assertNotEqual(self.server.admin_token, old)
        self.assertEqual(self.file().stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.admin.get("/v1/tokens").status, 200)
        self.refused(self.admin.get("/v1/tokens", token=old), 401, "unauthenticated")
        self.assertEqual(self.admin.get("/v1/status", token=viewer).status, 200)
        self.assertNotIn("auth.admin_token", self.restarted("0"))  # one lives

    def test_a_private_file_that_is_there_is_taken_as_it_is(self):
        old = self.server.admin_token
        log = self.restarted("role = 'admin'")
        self.assertIn("auth.admin_token", log)
        self.assertEqual(self.server.admin_token, old)
        self.assertEqual(self.admin.get("/v1/tokens").status, 200)

    def test_a_file_that_cannot_be_taken_keeps_no_rack_down(self):
        viewer = self.token()
        for content, mode in ((self.server.admin_token, 0o644), ("nonsense\n", 0o600), (viewer["token"], 0o600)):
            def prepare():
                self.file().write_text(content)
                self.file().chmod(mode)
            self.assertRegex(self.restarted("role = 'admin'", prepare), "<3>auth.no_admin .*the admin token's file|admin.token is there")
            self.assertEqual(self.admin.get("/v1/status", token=viewer["token"]).status, 200)
            self.refused(self.admin.get("/v1/tokens", token=viewer["token"]), 403, "forbidden")
            self.restarted("0", self.file().unlink)
            self.assertEqual(self.admin.get("/v1/tokens").status, 200)

    def test_without_a_file_it_is_said_that_nobody_can_sign_in(self):
        self.server.names_admin_file = False
        self.assertIn("auth.no_admin", self.restarted("role = 'admin'"))
        self.server.names_admin_file = True
        self.assertIn("auth.admin_token", self.restarted("0"))
        self.server.names_admin_file = False
        self.assertNotIn("auth.no_admin", self.restarted("0"))
        self.server.names_admin_file = True


if __name__ == "__main__":
    unittest.main()
