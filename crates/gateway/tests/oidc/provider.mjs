// A real OpenID provider for the end-to-end tests: `node provider.mjs PORT KEYID`, on the loopback
// alone. It signs with a fresh key of that id, gives access tokens to its one client, as JWTs for
// the resource `urn:api`, opaque otherwise, and tells about the opaque ones when asked.
import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [port, kid] = process.argv.slice(2);
// The packages are installed under target/, not beside this file.
const installed = createRequire(process.env.OIDC_HOME + '/');
const { default: Provider } = await import(pathToFileURL(installed.resolve('oidc-provider')));

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [key] },
  clients: [{
    client_id: 'shop',
    client_secret: 'a-secret-of-the-test',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  }],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: (_, resource) => ({
        scope: 'orders',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  scopes: ['orders'],
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
