// Verifies an attestation with nothing but the libraries of in-toto and of its envelope, and prints what they read.
//
// usage: in-toto-verifier KEY.pem SUBJECT-SHA256 BUNDLE
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	svr "github.com/in-toto/attestation/go/predicates/svr/v01"
	vsa "github.com/in-toto/attestation/go/predicates/vsa/v1"
	in_toto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	payloadType = "application/vnd.in-toto+json"
	extension   = "https://hubledger/attestation/v1"
)

// Of an attestation, what the predicates of both types have.
type found struct {
	PredicateType string   `json:"predicateType"`
	Name          string   `json:"name"`
	Verifier      string   `json:"verifier"`
	Time          int64    `json:"time"`
	Result        string   `json:"result"`
	Properties    []string `json:"properties"`
	Policies      []string `json:"policies"`
}

func main() {
	if len(os.Args) != 4 {
		fail(errors.New("usage: in-toto-verifier KEY.pem SUBJECT-SHA256 BUNDLE"))
	}
	statement, err := verified(os.Args[1], os.Args[3])
	if err != nil {
		fail(err)
	}
	read, err := readStatement(statement, os.Args[2])
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(read); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// verified returns the statement of a bundle whose signature holds.
func verified(keyFile, bundleFile string) (*in_toto.Statement, error) {
	pem, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := signerverifier.LoadKey(pem)
	if err != nil {
		return nil, err
	}
	signer, err := signerverifier.NewECDSASignerVerifierFromSSLibKey(key)
	if err != nil {
		return nil, err
	}
	verifier, err := dsse.NewEnvelopeVerifier(signer)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(bundleFile)
	if err != nil {
		return nil, err
	}
	var bundle struct {
		Envelope dsse.Envelope `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(data, &bundle); err != nil {
		return nil, err
	}
	if _, err := verifier.Verify(context.Background(), &bundle.Envelope); err != nil {
		return nil, err
	}
	if bundle.Envelope.PayloadType != payloadType {
		return nil, fmt.Errorf("payload of type %s", bundle.Envelope.PayloadType)
	}
	payload, err := bundle.Envelope.DecodeB64Payload()
	if err != nil {
		return nil, err
	}
	statement := &in_toto.Statement{}
	if err := protojson.Unmarshal(payload, statement); err != nil { // refuses a field that a statement does not have
		return nil, err
	}
	return statement, statement.Validate()
}

func readStatement(statement *in_toto.Statement, subject string) (*found, error) {
	if len(statement.Subject) != 1 || statement.Subject[0].Digest["sha256"] != subject {
		return nil, errors.New("the statement is about something else")
	}
	predicate := statement.Predicate
	if predicate.Fields[extension] == nil {
		return nil, errors.New("the predicate has no field " + extension)
	}
	delete(predicate.Fields, extension)
	read := &found{PredicateType: statement.PredicateType, Name: statement.Subject[0].Name}
	switch statement.PredicateType {
	case "https://slsa.dev/verification_summary/v1":
		return read, read.vsa(predicate)
	case "https://in-toto.io/attestation/svr/v0.2":
		return read, read.svr(predicate)
	}
	return nil, errors.New("a predicate of type " + statement.PredicateType)
}

func (read *found) vsa(predicate *structpb.Struct) error {
	// Of version 1.2 of the specification, and not yet in the library.
	delete(predicate.Fields["verifier"].GetStructValue().GetFields(), "version")
	summary := &vsa.VerificationSummary{}
	if err := strict(predicate, summary); err != nil {
		return err
	}
	read.Verifier, read.Time = summary.Verifier.Id, summary.TimeVerified.Seconds
	read.Result, read.Properties = summary.VerificationResult, summary.VerifiedLevels
	policy := &in_toto.ResourceDescriptor{Uri: summary.Policy.Uri, Digest: summary.Policy.Digest}
	read.Policies = []string{policy.Uri}
	for _, each := range summary.InputAttestations {
		input := &in_toto.ResourceDescriptor{Uri: each.Uri, Digest: each.Digest}
		if err := input.Validate(); err != nil {
			return err
		}
	}
	return policy.Validate()
}

func (read *found) svr(predicate *structpb.Struct) error {
	// The library has version 0.1, whose verifier has one policy of any form. Version 0.2 has a list of descriptors.
	verifier := predicate.Fields["verifier"].GetStructValue().GetFields()
	for _, each := range verifier["policies"].GetListValue().GetValues() {
		policy := &in_toto.ResourceDescriptor{}
		if err := strict(each.GetStructValue(), policy); err != nil {
			return err
		}
		if err := policy.Validate(); err != nil {
			return err
		}
		read.Policies = append(read.Policies, policy.Uri)
	}
	delete(verifier, "policies")
	result := &svr.SimpleVerificationResult{}
	if err := strict(predicate, result); err != nil {
		return err
	}
	read.Verifier, read.Time = result.Verifier.Id, result.TimeCreated.Seconds
	read.Result, read.Properties = "PASSED", result.Properties
	return nil
}

// strict reads a predicate as its type defines it, and refuses a field that this does not have.
func strict(from *structpb.Struct, to proto.Message) error {
	data, err := protojson.Marshal(from)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(data, to)
}
