// tls_test.go - tls:// on both sides.
package nebula_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/nebula"
)

// certificate makes one for that name that vouches for itself, and gives its file, which has the key too.
func certificate(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	signed, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	ok(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ok(t, err)
	file := filepath.Join(t.TempDir(), "pair.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	ok(t, os.WriteFile(file, text, 0o600))
	return file
}

func TestTLSOfBothSides(t *testing.T) {
	server, client := certificate(t, "hello.test"), certificate(t, "client.test")
	s := nebula.Server{
		Addresses: []string{"tls://127.0.0.1:0"}, TLS: &nebula.TLS{Certificate: server, Authorities: client},
	}
	nebula.Unary(&s, "hello.greet", greet)
	ok(t, s.Start())
	t.Cleanup(s.Close)
	call := func(tls *nebula.TLS) error {
		channel, err := nebula.Dial(s.URLs()[0], &nebula.ChannelOptions{TLS: tls})
		ok(t, err)
		defer channel.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err = nebula.Call[string](ctx, "hello.greet", Person{Name: "Ada"}, nebula.Via(channel))
		return err
	}
	ok(t, call(&nebula.TLS{Certificate: client, Authorities: server, ServerName: "hello.test"}))
	for _, tls := range []*nebula.TLS{
		nil, // it trusts nobody who knows this server
		{Certificate: client, Authorities: server, ServerName: "other.test"},
		{Authorities: server, ServerName: "hello.test"}, // it has no certificate
	} {
		expect(t, nebula.CodeOf(call(tls)), nebula.Unavailable)
	}
	_, err := nebula.Dial("tls://127.0.0.1:1", &nebula.ChannelOptions{TLS: &nebula.TLS{Authorities: "/no/such/file"}})
	if err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Fatal(err)
	}
}
