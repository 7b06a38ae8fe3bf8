/** Sign-in with OpenID Connect: authorization code with PKCE, tokens kept for this tab only. */

const { UserManager, WebStorageStateStore } = globalThis.oidc ?? {};

/** Signs in and out, and hands out access tokens. */
export class Authentication {
  #manager;

  /** `config` is the answer of `/config`; `page` the address to come back to. */
  constructor(config, page) {
    this.#manager = new UserManager({
      authority: config.issuer,
      client_id: config.clientId,
      scope: config.scope,
      redirect_uri: page,
      post_logout_redirect_uri: `${page}?signed-out`,
      response_type: "code",
      userStore: new WebStorageStateStore({ store: sessionStorage }),
      automaticSilentRenew: false, // asked for when a call needs it
      monitorSession: false,
    });
  }

  /** The signed-in user, or null. Completes a sign-in that this page was returned to by; rejects if that failed. */
  async user() {
    const parameters = new URLSearchParams(location.search);
    if (parameters.has("state") && (parameters.has("code") || parameters.has("error"))) {
      try {
        const user = await this.#manager.signinRedirectCallback();
        tidy(user.state);
        return user;
      } catch (error) {
        tidy(null);
        throw error;
      }
    }
    const user = await this.#manager.getUser();
    return user && (!user.expired || user.refresh_token) ? user : null;
  }

  /** Goes to the issuer's sign-in page. */
  signIn() {
    return this.#manager.signinRedirect({ state: location.hash });
  }

  /** Forgets the tokens and goes to the issuer's sign-out page. */
  async signOut() {
    await this.#manager.signoutRedirect().catch(() => this.#manager.removeUser());
  }

  /** For pulse.js. */
  getToken = async ({ fresh }) => {
    const user = await this.#manager.getUser();
    if (user && !user.expired && !fresh) return user.access_token;
    if (!user?.refresh_token) throw new Error("Your sign-in has lapsed.");
    const renewed = await this.#manager.signinSilent();
    return renewed.access_token;
  };
}

/** Takes the answer of the issuer out of the address, and brings back the part after #. */
function tidy(hash) {
  history.replaceState(null, "", location.pathname + (typeof hash === "string" ? hash : ""));
}
