using System.CommandLine;
using SdnEdge.Client;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>Options that say who the caller of an API is, where that is asked over the network.</summary>
internal static class IdentityFlags
{
    private static readonly Option<string?> Cert = new("--cert")
    {
        Description = "HTTPS: who you are, a certificate in PEM.",
        HelpName = "FILE",
    };
    private static readonly Option<string?> Key = new("--key") { Description = "HTTPS: its key in PEM.", HelpName = "FILE" };
    private static readonly Option<string?> Authority = new("--ca")
    {
        Description = "HTTPS: the authority of the other end's certificate, PEM.",
        HelpName = "FILE",
    };

    /// <summary>Adds them to a command.</summary>
    public static void AddTo(Command command)
    {
        foreach (Option option in (Option[])[Cert, Key, Authority]) command.Options.Add(option);
    }

    /// <summary>True when an API is asked over the network.</summary>
    public static bool IsHttps(string api) => api.StartsWith("https://", StringComparison.OrdinalIgnoreCase);

    /// <summary>The caller's identity; null: none was given, and none is needed.</summary>
    /// <param name="parse">The command line.</param>
    /// <param name="api">The API's address.</param>
    /// <param name="whose">Whose API it is, for messages.</param>
    /// <exception cref="ArgumentException">HTTPS lacks its certificate.</exception>
    /// <exception cref="IOException">A PEM file cannot be read.</exception>
    public static ClientIdentity? For(ParseResult parse, string api, string whose)
        => (parse.GetValue(Cert), parse.GetValue(Key), parse.GetValue(Authority)) switch
        {
            ({ } cert, { } key, { } authority) => ClientIdentity.Load(cert, key, authority),
            _ when IsHttps(api) => throw new ArgumentException($"{api} needs --cert, --key and --ca; or give {whose}'s unix socket"),
            _ => null,
        };
}
